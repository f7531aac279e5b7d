"""What a caller asks for, checked: the one schema of the HTTP API and of the intake queue."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from crewrelay.crews import catalogue
from crewrelay.jobs.job import JobInput

LONGEST_TOPIC = 2000


# Control characters, line and paragraph separators, and halves of surrogate pairs, which are no text at all.
_FORBIDDEN = ("Cc", "Zl", "Zp", "Cs")
_INVISIBLE = ("Cf", "Zs")


def _printable(topic: str) -> str:
    topic = topic.strip()
    categories = [unicodedata.category(character) for character in topic]
    for character, category in zip(topic, categories, strict=True):
        if category in _FORBIDDEN:
            raise ValueError(f"must not contain control characters, but has U+{ord(character):04X}")
    if all(category in _INVISIBLE for category in categories):
        raise ValueError("must not be empty")
    return topic


def _language_tag(tag: str) -> str:
    """BCP 47: well-formed by RFC 5646 and made of registered subtags."""
    import langcodes  # 20 ms, which no status or health check of a cold function needs

    if "_" in tag or not tag.isascii() or not langcodes.tag_is_valid(tag):
        raise ValueError("must be a BCP 47 language tag, like en, de or pt-BR")
    return tag


def _known_crew(name: str) -> str:
    if name not in catalogue.names():
        raise ValueError(f"must name a crew of this deployment: {', '.join(catalogue.names())}")
    return name


class RunRequest(BaseModel):
    """A topic to research and the language to answer in."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"topic": "neural networks", "language": "en"}]}
    )

    topic: Annotated[str, Field(max_length=LONGEST_TOPIC), AfterValidator(_printable)]
    language: Annotated[str, Field(max_length=35), AfterValidator(_language_tag)] = Field(
        description="A BCP 47 language tag"
    )
    crew: Annotated[str, AfterValidator(_known_crew)] = "research"

    def job_input(self) -> JobInput:
        return JobInput(crew=self.crew, inputs={"topic": self.topic, "language": self.language})


def complaints(error: ValidationError) -> list[dict[str, str]]:
    """What is wrong with each field, without the value itself: [{"field": "topic", "message": "…"}]."""
    return [
        {"field": ".".join(str(part) for part in item["loc"]), "message": item["msg"].removeprefix("Value error, ")}
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
