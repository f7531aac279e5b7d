"""The schema of a request for a run: the same for the HTTP API and the intake queue."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.inputs import LONGEST_TAG, LONGEST_TEXT, Value, language_tag, printable
from crewrelay.jobs.access import CollectionName
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.webhook import DEFAULT_EVENTS, Webhook
from crewrelay.outbound.guard import LONGEST_URL, Guard
from crewrelay.settings import WebhookSettings

LONGEST_TOPIC = LONGEST_TEXT


def _known_crew(name: str) -> str:
    names = catalogue().names()
    if name not in names:
        raise ValueError(f"must name a crew of this deployment: {', '.join(names)}")
    return name


_CrewName = Annotated[str, AfterValidator(_known_crew)]
_Collection = Annotated[
    CollectionName,
    Field(
        description="One of the collections that the token names; by default its first",
        json_schema_extra=lambda schema: schema.pop("default", None),
    ),
]


@cache
def _guard() -> Guard:
    return WebhookSettings.read().guard()


def permitted_url(url: str) -> str:
    """Raises ValueError if no webhook may be there."""
    try:
        _guard().target(url)
    except InvalidRequest as refusal:
        raise ValueError(str(refusal)) from None
    return url


def undocumented_default(schema: dict[str, Any]) -> None:
    """Generated clients send each default that is documented, and these fields can't stand alone."""
    schema.pop("default", None)


class WebhookRequest(BaseModel):
    """Where the caller wants to be told of the job's events."""

    webhook_url: Annotated[
        str,
        Field(
            max_length=LONGEST_URL,
            description="Is told of the job's events: see docs/webhooks.md",
            json_schema_extra=undocumented_default,
        ),
        AfterValidator(permitted_url),
    ] = None  # type: ignore[assignment]  # left out; a null is refused
    webhook_events: Annotated[
        list[Annotated[EventType, Field(strict=False)]],
        Field(
            min_length=1,
            max_length=len(EventType),
            description=f"Of which it is told; by default {', '.join(DEFAULT_EVENTS)}",
            json_schema_extra=undocumented_default,
        ),
    ] = list(DEFAULT_EVENTS)
    webhook_form: Annotated[
        Literal["standard", "cloudevents"],
        Field(
            description="Standard Webhooks, which is the default, or CloudEvents 1.0",
            json_schema_extra=undocumented_default,
        ),
    ] = "standard"

    @model_validator(mode="after")
    def _has_a_webhook(self) -> Self:
        named = {"webhook_events", "webhook_form"} & self.model_fields_set
        if named and "webhook_url" not in self.model_fields_set:
            raise _refusal(min(named), "must stand beside webhook_url")
        return self

    def webhooks(self) -> tuple[Webhook, ...] | None:
        return self.told_of(self.webhook_events)

    def told_of(self, events: Iterable[EventType]) -> tuple[Webhook, ...] | None:
        wanted = tuple(dict.fromkeys(events))
        if "webhook_url" not in self.model_fields_set or not wanted:
            return None
        return (Webhook(url=self.webhook_url, events=wanted, form=self.webhook_form),)


class TopicRequest(WebhookRequest):
    """A topic and the language to answer in: the short form, for crews with these two inputs."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"topic": "neural networks", "language": "en"}]}
    )

    topic: Annotated[str, Field(max_length=LONGEST_TOPIC), AfterValidator(printable)]
    language: Annotated[str, Field(max_length=LONGEST_TAG), AfterValidator(language_tag)] = Field(
        description="A BCP 47 language tag"
    )
    crew: _CrewName = "research"
    collection: _Collection = None  # type: ignore[assignment]  # left out; a null is refused

    @model_validator(mode="after")
    def _fits_the_crew(self) -> Self:
        declared = catalogue().card(self.crew).crew.inputs
        if not {"topic", "language"} <= declared.keys():
            raise _refusal("crew", f"has other inputs, {', '.join(declared)}: send them as inputs, beside crew")
        self.job_input()
        return self

    def job_input(self) -> JobInput:
        return _job_input(self.crew, {"topic": self.topic, "language": self.language}, self.collection, self.webhooks())


class CrewRequest(WebhookRequest):
    """A crew by its name, and its inputs as `GET /crewai/crews` lists them."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"crew": "research", "inputs": {"topic": "neural networks", "language": "en"}}]
        },
    )

    crew: _CrewName
    inputs: dict[str, Any]
    collection: _Collection = None  # type: ignore[assignment]  # left out; a null is refused

    @field_validator("inputs")
    @classmethod
    def _as_declared(cls, inputs: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "crew" in info.data:
            return dict(_job_input(info.data["crew"], inputs).inputs)
        return inputs

    def job_input(self) -> JobInput:
        return JobInput(crew=self.crew, inputs=self.inputs, collection=self.collection, webhooks=self.webhooks())


def _job_input(
    crew: str, inputs: dict[str, Any], collection: str | None = None, webhooks: tuple[Webhook, ...] | None = None
) -> JobInput:
    checked: dict[str, Value] = catalogue().card(crew).inputs.check(inputs)
    return JobInput(crew=crew, inputs=checked, collection=collection, webhooks=webhooks)


def _of_its_form(body: Any, either: Callable[[Any], Any]) -> TopicRequest | CrewRequest:
    """Validate against one of the two forms, so that all errors are about the form that was meant."""
    if not isinstance(body, dict):
        return TopicRequest.model_validate(body)
    short = [name for name in ("topic", "language") if name in body]
    if "inputs" in body and short:
        raise _refusal(short[0], "must not stand beside inputs: send topic and language, or crew and inputs")
    return (CrewRequest if "inputs" in body or ("crew" in body and not short) else TopicRequest).model_validate(body)


def _refusal(field: str, message: str) -> ValidationError:
    """The ValidationError of one field."""
    details = InitErrorDetails(
        type=PydanticCustomError("refused", "{message}", {"message": message}), loc=(field,), input=None
    )
    return ValidationError.from_exception_data("RunRequest", [details])


RunRequest = Annotated[TopicRequest | CrewRequest, WrapValidator(_of_its_form)]
_REQUEST: TypeAdapter[TopicRequest | CrewRequest] = TypeAdapter(RunRequest)


def parse(body: str | bytes) -> TopicRequest | CrewRequest:
    """A request as JSON. Raises ValidationError."""
    return _REQUEST.validate_json(body)


def request_of(body: Any) -> TopicRequest | CrewRequest:
    """A request as parsed JSON. Raises ValidationError."""
    return _REQUEST.validate_python(body)


def complaints(error: ValidationError) -> list[dict[str, str]]:
    """What is wrong with each field, without the value itself: [{"field": "topic", "message": "…"}]."""
    return [
        {"field": ".".join(str(part) for part in item["loc"]), "message": item["msg"].removeprefix("Value error, ")}
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
