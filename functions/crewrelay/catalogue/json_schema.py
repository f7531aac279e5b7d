"""Turns a JSON schema, that of a flow's state, into inputs. What it says beyond them is left to the flow to check."""

from collections.abc import Iterator, Mapping
from typing import Any

from crewrelay.catalogue.inputs import Input

_SIMPLE = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
_RANGE = {"minimum": "minimum", "maximum": "maximum"}
_LIMITS = {
    "text": {"maxLength": "max_length"},
    "array": {"maxItems": "max_length"},
    "integer": _RANGE,
    "number": _RANGE,
}
_ANY = {"type": "any"}


def inputs_of(schema: Mapping[str, Any]) -> dict[str, Input]:
    """An input for each property of the schema. Raises ValidationError."""
    return {name: Input.model_validate(one) for name, one in _properties(schema, schema, ()).items()}


def _properties(schema: Mapping[str, Any], root: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    required = schema.get("required", [])
    return {
        name: _input(one, root, seen) | ({} if name in required else {"optional": True})
        for name, one in schema.get("properties", {}).items()
    }


def _input(schema: Any, root: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        return _ANY
    if isinstance(reference := schema.get("$ref"), str):
        target = root.get("$defs", {}).get(reference.rpartition("/")[2])
        known = _ANY if reference in seen else _input(target, root, (*seen, reference))
        return known | _said(schema, known["type"])
    branches = list(_branches(schema))
    given = [one for one in branches if one.get("type") != "null"]
    if len(given) != 1:
        return _ANY | _said(schema, "any")
    nullable = {"nullable": True} if len(given) < len(branches) else {}
    only = given[0]
    if only is not schema:
        known = _input(only, root, seen)
        return known | nullable | _said(schema, known["type"])
    return _of_one_type(schema, root, seen) | nullable


def _branches(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(name), list):
            yield from schema[name]
            return
    if isinstance(types := schema.get("type"), list):
        yield from ({**schema, "type": one} for one in types)
    else:
        yield schema


def _of_one_type(schema: Mapping[str, Any], root: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    options = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if options:
        texts = all(isinstance(one, str) for one in options)
        known: dict[str, Any] = {"type": "string", "enum": options} if texts else {**_ANY}
    elif schema.get("type") == "array":
        known = {"type": "array", **({"items": _input(schema["items"], root, seen)} if "items" in schema else {})}
    elif schema.get("type") == "object":
        closed = "properties" in schema and not schema.get("additionalProperties")
        known = {"type": "object", **({"properties": _properties(schema, root, seen)} if closed else {})}
    else:
        known = {"type": _SIMPLE.get(str(schema.get("type")), "any")}
    for theirs, ours in _LIMITS.get(known["type"], {}).items():
        if isinstance(schema.get(theirs), int | float):
            known[ours] = schema[theirs]
    return known | _said(schema, known["type"])


def _said(schema: Mapping[str, Any], type_: str) -> dict[str, Any]:
    """Its description, and its default if that is of the type."""
    said = {"description": schema["description"]} if isinstance(schema.get("description"), str) else {}
    default = schema.get("default")
    if default is not None and Input.model_validate({"type": type_}).allows(default):
        said["default"] = default
    return said
