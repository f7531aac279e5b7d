"""A crew's inputs: declared, checked in every request, published as JSON schema."""

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PositiveInt,
    SkipValidation,
    create_model,
    model_validator,
)

from crewrelay.catalogue.values import LONGEST_PROSE, MOST_ITEMS, Bounded, prose, within_limits

Value = JsonValue

LONGEST_TEXT = 2000  # characters, unless the crew sets max_length
LONGEST_TAG = 35
LANGUAGE_RULE = "must be a BCP 47 language tag, like en, de or pt-BR"
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)}")  # the same as CrewAI's

# Control characters, line and paragraph separators, and halves of surrogate pairs.
_FORBIDDEN = ("Cc", "Zl", "Zp", "Cs")
_INVISIBLE = ("Cf", "Zs")


def printable(text: str) -> str:
    """The text, stripped. Raises ValueError if it is empty or has control characters."""
    text = text.strip()
    categories = [unicodedata.category(character) for character in text]
    for character, category in zip(text, categories, strict=True):
        if category in _FORBIDDEN:
            raise ValueError(f"must not contain control characters, but has U+{ord(character):04X}")
    if all(category in _INVISIBLE for category in categories):
        raise ValueError("must not be empty")
    return text


def language_tag(tag: str) -> str:
    """The tag, if it is well-formed by RFC 5646 and its subtags are registered. Raises ValueError."""
    import langcodes  # takes 20 ms, which a cold function's status or health check does not need

    if "_" in tag or not tag.isascii() or not langcodes.tag_is_valid(tag):
        raise ValueError(LANGUAGE_RULE)
    return tag


# What a default must be, by type; a language and a text of one line or several are strings.
_PYTHON: dict[str, Any] = {
    "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict, "any": object
}  # fmt: skip
_SAMPLES: dict[str, Value] = {"boolean": False, "language": "en", "number": 1.0, "array": [], "any": None}


_LEFT_OUT = object()  # of an optional input


class Input(BaseModel):
    """An input as it is declared. With a default it is optional; `optional` without one if the crew has its own.

    `items` describes those of an array, `properties` those of an object; without them they hold any JSON.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: Literal["string", "text", "language", "integer", "number", "boolean", "array", "object", "any"] = "string"
    description: str = ""
    enum: Annotated[list[str], Field(min_length=1)] | None = None
    max_length: PositiveInt | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    items: "Input | None" = None
    properties: "dict[str, Input] | None" = None
    optional: bool = False
    nullable: bool = False
    default: SkipValidation[Value | None] = None
    example: SkipValidation[Value | None] = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for names, types in (
            (("enum",), ("string",)),
            (("max_length",), ("string", "text", "array")),
            (("minimum", "maximum"), ("integer", "number")),
            (("items",), ("array",)),
            (("properties",), ("object",)),
        ):
            if wrong := [name for name in names if getattr(self, name) is not None and self.type not in types]:
                raise ValueError(f"{wrong[0]} is for type {' or '.join(types)}; remove it")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("its minimum is above its maximum; correct one of them")
        for name, value in (("default", self.default), ("example", self.example)):
            if value is not None and not self.allows(value):
                raise ValueError(f"its {name} is no {self.type}; correct it, or the type")
        return self

    def allows(self, value: Value) -> bool:
        """Whether the value is of the type."""
        if isinstance(value, bool):  # an int, to Python
            return self.type in ("boolean", "any")
        return isinstance(value, _PYTHON.get(self.type, str))

    @property
    def required(self) -> bool:
        return self.default is None and not self.optional

    def field(self) -> tuple[Any, Any]:
        """Type and default, for pydantic."""
        type_ = self._type() | None if self.nullable else self._type()
        return type_, ... if self.required else self.default

    def _type(self) -> Any:
        match self.type:
            case "boolean":
                return bool
            case "integer":
                return Annotated[int, Field(ge=self.minimum, le=self.maximum)]
            case "number":
                return Annotated[float, Field(ge=self.minimum, le=self.maximum, allow_inf_nan=False)]
            case "language":
                return Annotated[str, Field(max_length=LONGEST_TAG), AfterValidator(language_tag)]
            case "text":
                return Annotated[str, Field(max_length=self.max_length or LONGEST_PROSE), AfterValidator(prose)]
            case "array":
                item: Any = self.items.field()[0] if self.items else Bounded
                return Annotated[list[item], Field(max_length=self.max_length or MOST_ITEMS)]
            case "object" if self.properties is not None:
                return _model_of(self.properties, open_=False)
            case "object":
                return Annotated[dict[str, JsonValue], AfterValidator(within_limits)]
            case "any":
                return Bounded
            case "string" if self.enum:
                return Literal[tuple(self.enum)]
            case _:
                checked = AfterValidator(lambda text: text if text == self.default else printable(text))
                return Annotated[str, Field(max_length=self.max_length or LONGEST_TEXT), checked]

    def json_schema(self) -> dict[str, Any]:
        """JSON schema."""
        schema: dict[str, Any] = {
            "type": {"language": "string", "text": "string", "any": None}.get(self.type, self.type),
            "description": self.description or ("A BCP 47 language tag" if self.type == "language" else None),
            "enum": self.enum,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "default": self.default,
            "examples": None if self.example is None else [self.example],
        }
        match self.type:
            case "language":
                schema |= {"minLength": 1, "maxLength": LONGEST_TAG}
            case "text":
                schema["maxLength"] = self.max_length or LONGEST_PROSE
            case "string" if not self.enum:
                schema["minLength"] = None if self.default == "" else 1
                schema["maxLength"] = self.max_length or LONGEST_TEXT
            case "array":
                schema["items"] = self.items and self.items.json_schema()
                schema["maxItems"] = self.max_length or MOST_ITEMS
            case "object" if self.properties is not None:
                schema |= _schema_of(self.properties, open_=False)
        known = {name: value for name, value in schema.items() if value is not None}
        return {"anyOf": [known, {"type": "null"}]} if self.nullable and self.type != "any" else known

    def sample(self, name: str) -> Value:
        """A value for a dry run: the example, the default, or any that the type allows."""
        known: Value | None
        for known in (self.example, self.default, *(self.enum or ())):
            if known is not None:
                return known
        if self.type in ("integer", "number"):
            return next((bound for bound in (self.minimum, self.maximum) if bound is not None), 1)
        if self.type == "object":
            return {key: one.sample(key) for key, one in (self.properties or {}).items() if one.required}
        return _SAMPLES[self.type] if self.type in _SAMPLES else name[: self.max_length]


class Inputs:
    """The inputs of a crew. Where they are `open`, others are taken as well, as any JSON."""

    def __init__(self, declared: Mapping[str, Input], *, open_: bool = False) -> None:
        self.declared = declared
        self.open = open_

    @cached_property
    def _model(self) -> type[BaseModel]:
        return _model_of(self.declared, open_=self.open)

    def check(self, given: Any) -> dict[str, Value]:
        """The values, checked and stripped, with defaults. Raises pydantic's ValidationError."""
        return self._model.model_validate(given).model_dump(by_alias=True)

    def sample(self) -> dict[str, Value]:
        """Raises ValidationError if an example or a default breaks a rule of its own input."""
        samples = {name: one.sample(name) for name, one in self.declared.items() if not one.optional}
        return self.check(samples)

    def json_schema(self) -> dict[str, Any]:
        return {"type": "object", **_schema_of(self.declared, open_=self.open)}


class _Open(BaseModel):
    __pydantic_extra__: dict[str, Bounded]


def _model_of(declared: Mapping[str, Input], *, open_: bool) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for number, (name, one) in enumerate(declared.items()):
        type_, default = one.field()
        known = Field(default, alias=name)
        if default is None:
            known = Field(_LEFT_OUT, alias=name, exclude_if=lambda value: value is _LEFT_OUT)
        fields[f"input_{number}"] = (type_, known)
    config = ConfigDict(extra="allow" if open_ else "forbid", strict=True)
    base: Any = {"__base__": type("Open", (_Open,), {"model_config": config})} if open_ else {"__config__": config}
    model: type[BaseModel] = create_model("Inputs", **base, **fields)
    return model


def _schema_of(declared: Mapping[str, Input], *, open_: bool) -> dict[str, Any]:
    return {
        "properties": {name: one.json_schema() for name, one in declared.items()},
        "required": [name for name, one in declared.items() if one.required],
        "additionalProperties": open_,
    }


def filled_in(text: str, given: Mapping[str, Value]) -> str:
    """The text with every {name} replaced, all at once: braces in a value stay as they are."""
    return PLACEHOLDER.sub(lambda match: _as_text(given[match[1]]) if match[1] in given else match[0], text)


def _as_text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
