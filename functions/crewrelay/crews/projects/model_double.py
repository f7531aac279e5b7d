"""Answers in a model's place: always the same, in the shape that is asked for, and without calling a tool. It also
embeds.
"""

import json
from collections.abc import Iterator, Mapping
from string import ascii_lowercase
from typing import Any

_TEXT = "An answer of the model's double."
_FINAL = f"Thought: I know.\nFinal Answer: {_TEXT}"  # to a prompt that describes tools
_DEEPEST = 20  # schemas in each other


def answer_to(request: Mapping[str, Any]) -> Any:
    """To a request as the journal has it: a text, or an object for a response's schema."""
    if request.get("response"):
        return instance_of(request["response"])
    asked = "\n".join(_texts(request.get("messages")))
    schema = next((found for found in _schemas(asked)), None)
    if schema is not None:
        return json.dumps(instance_of(schema))
    return _FINAL if "Action Input:" in asked else _TEXT


def vector_of(text: str) -> list[float]:
    """How often each letter occurs in it."""
    return [float(text.lower().count(letter)) for letter in ascii_lowercase]


def instance_of(schema: Mapping[str, Any]) -> Any:
    """The smallest value of a JSON schema, but for an object that needs nothing: it has all. What can be true is."""
    return _instance(schema, schema, 0)


def _instance(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _instance(root.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2]), root, depth + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if branches := [one for one in schema.get(name, ()) if one.get("type") != "null"]:
            return _instance(branches[0], root, depth + 1)
    if options := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
        return options[0]
    match schema.get("type"):
        case "object":
            known, needed = schema.get("properties", {}), schema.get("required", ())
            return {name: _instance(one, root, depth + 1) for name, one in known.items() if name in (needed or known)}
        case "array":
            return [_instance(schema.get("items"), root, depth + 1)] * max(1, schema.get("minItems", 1))
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    return _TEXT


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def _schemas(text: str) -> Iterator[Mapping[str, Any]]:
    """The JSON schemas of objects that stand in the text."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except ValueError:
            end = start + 1
        else:
            found = found.get("json_schema", found)
            found = found.get("schema", found) if isinstance(found, Mapping) else {}
            if isinstance(found, Mapping) and isinstance(found.get("properties"), Mapping):
                yield {"type": "object", **found}
        start = text.find("{", end)
