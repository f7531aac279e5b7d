"""What A2A's requests hold. Unknown fields are ignored, and nulls are as good as absent; protobuf's own field names are
understood beside those of JSON.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from crewrelay.catalogue.request import complaints, permitted_url
from crewrelay.http.protocols.a2a.errors import ContentTypeNotSupported
from crewrelay.http.protocols.runs import first_text
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.log_keys import correlation_id_of
from crewrelay.jobs.records.webhook import Webhook
from crewrelay.outbound.guard import LONGEST_URL

FORM_1_0, FORM_0_3 = "a2a", "a2a-0.3"  # of notifications
TOKEN_HEADER = "X-A2A-Notification-Token"  # noqa: S105

_LONGEST_ID = 255
_LONGEST_SECRET = 2048
_SCHEME = r"^[A-Za-z][A-Za-z0-9._-]{0,62}$"
_PRINTABLE = r"^[!-~]([ -~]*[!-~])?$"  # as a header may have it
_MOST_PARTS = 100
_Id = Annotated[str, Field(min_length=1, max_length=_LONGEST_ID)]
Ask = TypeVar("Ask", bound="Asked")


class Asked(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


def parsed(kind: type[Ask], given: Mapping[str, Any]) -> Ask:
    """Raises InvalidRequest."""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        said = "; ".join(f"{each['field']}: {each['message']}" for each in complaints(error)[:20])
        raise InvalidRequest(said) from None


class Part(Asked):
    """One of text and data, or what crews don't take. `file` is 0.3's."""

    text: str | None = None
    data: Any = None
    url: Any = None
    raw: Any = None
    file: Any = None
    media_type: str = ""


class Message(Asked):
    message_id: _Id
    role: Literal["ROLE_USER", "user"]
    parts: Annotated[list[Part], Field(min_length=1, max_length=_MOST_PARTS)]
    context_id: str | None = None
    task_id: Annotated[str, Field(max_length=_LONGEST_ID)] = ""
    metadata: dict[str, Any] = {}

    @field_validator("context_id")
    @classmethod
    def _can_be_kept(cls, context_id: str | None) -> str | None:
        if context_id and correlation_id_of(context_id) is None:
            raise ValueError("must have up to 64 letters, digits, '.', ':', '-' or '_'; leave it out to get a new one")
        return context_id or None  # protobuf writes what is absent as ""

    def text(self) -> str | None:
        """All of its text; None if it has none. Raises ContentTypeNotSupported."""
        for part in self.parts:
            if (part.text is None and part.data is None) or (part.text is not None and part.data is not None):
                raise ContentTypeNotSupported("A part of the message is neither text nor data.")
            wanted = "text/" if part.data is None else "application/json"
            if part.media_type and not part.media_type.lower().startswith(wanted):
                raise ContentTypeNotSupported(f"A part of the message is {part.media_type[:100]}.")
        texts = [part.text for part in self.parts if part.text is not None]
        return "\n\n".join(texts) if texts else None

    def inputs(self, crew: str) -> dict[str, Any]:
        """The crew's inputs: those of data parts by name, and the text as its `first_text`. Raises InvalidRequest,
        ContentTypeNotSupported.
        """
        text, found = self.text(), dict[str, Any]()
        for part in self.parts:
            if part.data is None:
                continue
            if not isinstance(part.data, dict) or part.data.keys() & found.keys():
                raise InvalidRequest("parts: data must be a JSON object of inputs by name, each once.")
            found |= part.data
        if text is not None:
            name = first_text(crew)
            if name in found:
                raise InvalidRequest(f"parts: {name} is given twice, as text and as data.")
            found[name] = text
        return found


class Authentication(Asked):
    """What notifications carry as `Authorization`. `schemes` is 0.3's."""

    scheme: Annotated[str, Field(pattern=_SCHEME)] | None = None
    schemes: Annotated[list[Annotated[str, Field(pattern=_SCHEME)]], Field(max_length=10)] = []
    credentials: Annotated[str, Field(max_length=_LONGEST_SECRET, pattern=_PRINTABLE)]

    @model_validator(mode="after")
    def _has_a_scheme(self) -> Self:
        if not (self.scheme or self.schemes):
            raise ValueError("scheme: must be there, such as Bearer")
        return self


class PushConfig(Asked):
    """Where a task's client wants to be told of it. Without an id of its own it has that of its task."""

    id: Annotated[str, Field(max_length=_LONGEST_ID)] = ""
    task_id: Annotated[str, Field(max_length=_LONGEST_ID)] = ""
    url: Annotated[str, Field(max_length=LONGEST_URL), AfterValidator(permitted_url)]
    token: Annotated[str, Field(max_length=_LONGEST_SECRET, pattern=_PRINTABLE)] | Literal[""] = ""
    authentication: Authentication | None = None

    def webhook(self, form: str, base_url: str) -> Webhook:
        headers = {TOKEN_HEADER: self.token} if self.token else {}
        if asked := self.authentication:
            headers["Authorization"] = f"{asked.scheme or asked.schemes[0]} {asked.credentials}"
        name = "" if self.id == self.task_id else self.id
        return Webhook(url=self.url, form=form, headers=headers, base_url=base_url, name=name)


class OneTasksConfigs(Asked):
    task_id: _Id


class OneConfig(OneTasksConfigs):
    id: _Id

    @property
    def name(self) -> str:
        """Of its webhook."""
        return "" if self.id == self.task_id else self.id


class Configuration(Asked):
    """`blocking` and `push_notification_config` are 0.3's."""

    history_length: Annotated[int, Field(ge=0)] | None = None
    return_immediately: bool = False
    blocking: bool = True
    task_push_notification_config: PushConfig | None = None
    push_notification_config: PushConfig | None = None

    def webhook(self, base_url: str) -> Webhook | None:
        if self.task_push_notification_config:
            return self.task_push_notification_config.webhook(FORM_1_0, base_url)
        if self.push_notification_config:
            return self.push_notification_config.webhook(FORM_0_3, base_url)
        return None


class Send(Asked):
    message: Message
    configuration: Configuration = Configuration()


class OneTask(Asked):
    id: _Id
    history_length: Annotated[int, Field(ge=0)] | None = None


class Listing(Asked):
    context_id: str | None = None
    status: str | None = None
    page_size: Annotated[int, Field(ge=1, le=100)] = 50
    page_token: str = ""
    history_length: Annotated[int, Field(ge=0)] = 0
    status_timestamp_after: AwareDatetime | None = None
    include_artifacts: bool = False

    def fits(self, state: str, at: datetime) -> bool:
        return self.status in (None, "", "TASK_STATE_UNSPECIFIED", state) and (
            self.status_timestamp_after is None or at > self.status_timestamp_after
        )
