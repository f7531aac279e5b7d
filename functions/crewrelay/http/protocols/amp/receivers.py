"""Who is to be told of an execution: where, of what, and with which credentials."""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from crewrelay.catalogue.request import permitted_url
from crewrelay.http.protocols.amp.notifications import FORM_HUMAN_INPUT, FORM_STREAM, FORMS, STREAMED
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.subscription import State, Subscription
from crewrelay.jobs.records.webhook import Webhook
from crewrelay.outbound.guard import LONGEST_URL

_LONGEST_META = 4096  # bytes of JSON: each of the execution's webhooks keeps it
_LONGEST_SECRET = 2048
_PRINTABLE = r"^[!-~]([ -~]*[!-~])?$"  # as a header may have it


def _small(meta: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(json.dumps(meta, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError):
        raise ValueError("must be JSON that can be given back as it is") from None
    if size > _LONGEST_META:
        raise ValueError(f"must have at most {_LONGEST_META} bytes")
    return meta


Meta = Annotated[dict[str, Any], AfterValidator(_small)]


class _Bearer(BaseModel):
    strategy: Literal["bearer"]
    token: Annotated[str, Field(max_length=_LONGEST_SECRET, pattern=_PRINTABLE)]

    def authorization(self) -> str:
        return f"Bearer {self.token}"


class _Basic(BaseModel):
    """RFC 7617."""

    strategy: Literal["basic"]
    username: Annotated[str, Field(max_length=_LONGEST_SECRET, pattern=r"^[^:]*$")]
    password: Annotated[str, Field(max_length=_LONGEST_SECRET)]

    def authorization(self) -> str:
        return f"Basic {b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


class _Receiver(BaseModel):
    url: Annotated[str, Field(max_length=LONGEST_URL), AfterValidator(permitted_url)]
    authentication: Annotated[_Bearer | _Basic, Field(discriminator="strategy")] | None = None

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": self.authentication.authorization()} if self.authentication else {}


class HumanInputWebhook(_Receiver):
    def webhook(self) -> Webhook:
        return Webhook(url=self.url, events=(EventType.WAITING,), form=FORM_HUMAN_INPUT, headers=self.headers())


def _streamed(name: str) -> str:
    if name not in STREAMED:
        raise ValueError(f"{name[:100]!r} is not told here; there are {', '.join(STREAMED)}")
    return name


class Stream(_Receiver):
    """Each event is told by itself, as the platform does if `realtime` is true."""

    events: Annotated[list[Annotated[str, AfterValidator(_streamed)]], Field(min_length=1, max_length=100)]

    def webhook(self) -> Webhook:
        asked = [STREAMED[name] for name in STREAMED if name in self.events]
        events = tuple(dict.fromkeys(what for one in asked for what in one.events))
        calls = tuple(kind for one in asked for kind in one.calls)
        return Webhook(url=self.url, events=events, calls=calls or None, form=FORM_STREAM, headers=self.headers())


def resubscribed(webhooks: Iterable[Webhook], subscriptions: Iterable[Subscription]) -> Iterator[Webhook]:
    """Those that the execution does not have yet. `meta` stays what it was if it is not sent again."""
    there = [one.webhook for one in subscriptions if one.webhook.form in FORMS and one.state is not State.REMOVED]
    known = {one.name: one for one in there}
    meta = next((one.data for one in there if one.data is not None), None)
    for webhook in webhooks:
        same = known.get(webhook.name)
        kept: dict[str, Any] = {"data": meta if webhook.data is None else webhook.data}
        kept |= {"base_url": same.base_url} if same else {}
        if (wanted := webhook.model_copy(update=kept)) != same:
            yield wanted
