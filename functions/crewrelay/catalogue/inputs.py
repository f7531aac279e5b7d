"""A crew's inputs: declared in crew.yaml, checked in every request, published as JSON schema."""

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
    PositiveInt,
    SkipValidation,
    create_model,
    model_validator,
)

Value = str | int | bool

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


class Input(BaseModel):
    """An input as crew.yaml declares it. With a default it is optional."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: Literal["string", "language", "integer", "boolean"] = "string"
    description: str = ""
    enum: Annotated[list[str], Field(min_length=1)] | None = None
    max_length: PositiveInt | None = None
    minimum: int | None = None
    maximum: int | None = None
    default: SkipValidation[Value | None] = None
    example: SkipValidation[Value | None] = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        texts = {"enum": self.enum, "max_length": self.max_length}
        numbers = {"minimum": self.minimum, "maximum": self.maximum}
        for names, type_ in ((texts, "string"), (numbers, "integer")):
            if wrong := [name for name, value in names.items() if value is not None and self.type != type_]:
                raise ValueError(f"{wrong[0]} is for type {type_}; remove it")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("its minimum is above its maximum; correct one of them")
        for name, value in (("default", self.default), ("example", self.example)):
            if value is not None and type(value) is not {"integer": int, "boolean": bool}.get(self.type, str):
                raise ValueError(f"its {name} is no {self.type}; correct it, or the type")
        return self

    @property
    def required(self) -> bool:
        return self.default is None

    def field(self) -> tuple[Any, Any]:
        """Type and default, for pydantic."""
        type_: Any
        match self.type:
            case "boolean":
                type_ = bool
            case "integer":
                type_ = Annotated[int, Field(ge=self.minimum, le=self.maximum)]
            case "language":
                type_ = Annotated[str, Field(max_length=LONGEST_TAG), AfterValidator(language_tag)]
            case "string" if self.enum:
                type_ = Literal[tuple(self.enum)]
            case _:
                checked = AfterValidator(lambda text: text if text == self.default else printable(text))
                type_ = Annotated[str, Field(max_length=self.max_length or LONGEST_TEXT), checked]
        return type_, ... if self.required else self.default

    def json_schema(self) -> dict[str, Any]:
        """JSON schema."""
        schema = {
            "type": "string" if self.type == "language" else self.type,
            "description": self.description or ("A BCP 47 language tag" if self.type == "language" else None),
            "enum": self.enum,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "default": self.default,
            "examples": None if self.example is None else [self.example],
        }
        if self.type == "language" or (self.type == "string" and not self.enum):
            schema["minLength"] = None if self.default == "" else 1
            schema["maxLength"] = LONGEST_TAG if self.type == "language" else self.max_length or LONGEST_TEXT
        return {name: value for name, value in schema.items() if value is not None}

    def sample(self, name: str) -> Value:
        """A value for a dry run: the example, the default, or any that the type allows."""
        known: Value | None
        for known in (self.example, self.default, *(self.enum or ())):
            if known is not None:
                return known
        match self.type:
            case "integer":
                return next((bound for bound in (self.minimum, self.maximum) if bound is not None), 1)
            case "boolean":
                return False
            case "language":
                return "en"
            case _:
                return name[: self.max_length]


class Inputs:
    """The inputs of a crew."""

    def __init__(self, declared: Mapping[str, Input]) -> None:
        self.declared = declared

    @cached_property
    def _model(self) -> type[BaseModel]:
        fields: dict[str, Any] = {name: one.field() for name, one in self.declared.items()}
        aliased = {f"input_{number}": (type_, Field(default, alias=name)) for number, (name, (type_, default)) in
                   enumerate(fields.items())}  # fmt: skip
        return create_model("Inputs", __config__=ConfigDict(extra="forbid", strict=True), **aliased)  # type: ignore[call-overload,no-any-return]

    def check(self, given: Any) -> dict[str, Value]:
        """The values, checked and stripped, with defaults. Raises pydantic's ValidationError."""
        return self._model.model_validate(given).model_dump(by_alias=True)

    def sample(self) -> dict[str, Value]:
        """Raises ValidationError if an example or a default breaks a rule of its own input."""
        return self.check({name: one.sample(name) for name, one in self.declared.items()})

    def json_schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: one.json_schema() for name, one in self.declared.items()},
            "required": [name for name, one in self.declared.items() if one.required],
            "additionalProperties": False,
        }


def filled_in(text: str, given: Mapping[str, Value]) -> str:
    """The text with every {name} replaced, all at once: braces in a value stay as they are."""
    return PLACEHOLDER.sub(lambda match: _as_text(given[match[1]]) if match[1] in given else match[0], text)


def _as_text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
