"""What a request of OpenAI's clients asks of a crew. Fields that mean nothing to a crew are ignored."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.http.protocols.runs import checked, first_text
from crewrelay.jobs.access import Caller
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.records.job import JobInput

_PREFIX = "crew/"  # of a model's name, for clients that route by one
_PARSED = ("integer", "number", "boolean", "array", "object")  # types of inputs that metadata has as JSON text


class ResponseRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model: str
    input: Any
    metadata: dict[str, Any] | None = None
    instructions: Any = None
    background: bool | None = None
    stream: bool | None = None
    previous_response_id: Any = None
    conversation: Any = None
    text: Any = None

    def job_input(self, caller: Caller) -> JobInput:
        """Raises InvalidRequest, ForeignCollection."""
        for name in ("previous_response_id", "conversation"):
            if getattr(self, name) is not None:
                raise InvalidRequest(f"{name}: a crew knows no earlier response: put what it needs into input.")
        form = self.text.get("format") if isinstance(self.text, dict) else None
        _require_text("text.format", form)
        return _Asked(self.model, "input", self.input, self.metadata, self.instructions).job_input(caller)


class ChatRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[Any]
    metadata: dict[str, Any] | None = None
    stream: bool | None = None
    stream_options: Any = None
    n: int | None = None
    response_format: Any = None

    def job_input(self, caller: Caller) -> JobInput:
        """Raises InvalidRequest, ForeignCollection."""
        if self.n not in (None, 1):
            raise InvalidRequest("n: a crew gives one answer: leave it out.")
        _require_text("response_format", self.response_format)
        system = [each for each in self.messages if _role(each) in ("system", "developer")]
        instructions = "\n".join(_text("messages", each.get("content")) for each in system) or None
        return _Asked(self.model, "messages", self.messages, self.metadata, instructions).job_input(caller)

    @property
    def wants_usage(self) -> bool:
        return isinstance(self.stream_options, dict) and self.stream_options.get("include_usage") is True


class _Asked(NamedTuple):
    """`field` is where the text is."""

    model: str
    field: str
    content: Any
    metadata: Mapping[str, Any] | None
    instructions: Any

    def job_input(self, caller: Caller) -> JobInput:
        crew = crew_of(self.model)
        text = first_text(crew)
        described = catalogue().card(crew).inputs.json_schema()["properties"]
        given = {
            name: _parsed(value, described.get(name, {}).get("type")) for name, value in (self.metadata or {}).items()
        }
        if text in given:
            raise InvalidRequest(f"metadata.{text}: the crew's {text} is the text of {self.field}: leave it out here.")
        if isinstance(self.instructions, str) and "instructions" in described:
            given.setdefault("instructions", self.instructions)
        try:
            return checked(caller, crew, {**given, text: _last_words(self.field, self.content)})
        except InvalidRequest as error:
            said = str(error).replace(f"inputs.{text}:", f"{self.field}:").replace("inputs.", "metadata.")
            raise InvalidRequest(said) from None


def crew_of(model: str) -> str:
    """Raises InvalidRequest."""
    name, names = model.removeprefix(_PREFIX), catalogue().names()
    if name not in names:
        raise InvalidRequest(f"model: must name a crew of this deployment: {', '.join(names)}")
    return name


def _last_words(field: str, content: Any) -> str:
    """The text itself, or that of the last message of the user."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        for each in reversed(content):
            if _role(each) == "user":
                return _text(field, each.get("content"))
    raise InvalidRequest(f"{field}: must be a text, or messages with one of the role user")


def _text(field: str, content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [None]
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") in _TEXTS]
    if len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(f"{field}: a crew reads text only: leave out what is not input_text or text")
    return "\n".join(map(str, texts))


_TEXTS = ("input_text", "text", "output_text")


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _parsed(value: Any, type_: str | None) -> Any:
    if not isinstance(value, str) or type_ not in _PARSED:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value  # and the complaint is about that


def _require_text(field: str, form: Any) -> None:
    if isinstance(form, dict) and form.get("type", "text") != "text":
        raise InvalidRequest(f"{field}: a crew answers in text: leave it out.")
