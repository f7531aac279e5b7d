"""A webhook: where a caller wants to be told of a job's events, and in which form."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, JsonValue

from crewrelay.jobs.records.events import Event, EventType
from crewrelay.jobs.records.journal import Kind

STANDARD = "standard"
DEFAULT_EVENTS = (EventType.WAITING, EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)


class Webhook(BaseModel):
    """`form` names the format of the messages. `headers` go out with each, such as a credential that its receiver asks
    for. `name` tells it from the job's others, for callers that change or remove it. `base_url` is the API's address as
    the caller reached it, for links; empty if it is not known. `calls` are the kinds of calls that it is told of, None
    for all; `data` is what its caller wants to get back with the messages.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    events: tuple[EventType, ...] = DEFAULT_EVENTS
    form: str = STANDARD
    headers: Mapping[str, str] = {}
    name: str | None = None
    base_url: str = ""
    calls: tuple[Kind, ...] | None = None
    data: Mapping[str, JsonValue] | None = None

    def wants(self, event: Event) -> bool:
        if event.what is EventType.CALL and self.calls is not None and event.details.get("kind") not in self.calls:
            return False
        return event.what in self.events
