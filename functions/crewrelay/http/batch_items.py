"""The schema of a batch's request: each item is checked by itself."""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, WrapValidator

from crewrelay.catalogue.drafts import LONGEST_ID, Draft, draft_of
from crewrelay.catalogue.request import CrewRequest, TopicRequest, WebhookRequest, undocumented_default
from crewrelay.jobs.access import Caller
from crewrelay.jobs.records.batch import MOST_ITEMS, BatchItem
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.webhook import DEFAULT_EVENTS, Webhook

CustomId = Annotated[
    str | None,
    Field(
        pattern=rf"^[ -~]{{1,{LONGEST_ID}}}$",
        description="Names the item in the results; default: its number in the batch, from 0",
    ),
]


class TopicItem(TopicRequest):
    """A topic and the language to answer in, as for a single run, with an id of the caller's."""

    custom_id: CustomId = None


class CrewItem(CrewRequest):
    """A crew and its inputs, as for a single run, with an id of the caller's."""

    custom_id: CustomId = None


def _draft(sent: Any, _: Any) -> Draft:
    return draft_of(sent)


BATCH_COMPLETED = "batch.completed"
_EVENTS = (*EventType, BATCH_COMPLETED)


def _known_event(name: str) -> str:
    if name not in _EVENTS:
        raise ValueError(f"must be one of {', '.join(_EVENTS)}")
    return name


class BatchRequest(WebhookRequest):
    """Up to 1,000 items, each a body of POST /crewai/run/async. One that breaks a rule is rejected alone. A webhook of
    the batch is told of each job that has none of its own, and of the end of all if it wants `batch.completed`.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"items": [{"custom_id": "one", "topic": "neural networks", "language": "en"}]}]
        },
    )

    items: Annotated[
        list[Annotated[TopicItem | CrewItem, WrapValidator(_draft)]], Field(min_length=1, max_length=MOST_ITEMS)
    ]

    webhook_events: Annotated[
        list[Annotated[str, AfterValidator(_known_event), Field(json_schema_extra={"enum": [*_EVENTS]})]],
        Field(
            min_length=1,
            max_length=len(_EVENTS),
            description=f"Of which it is told; by default {', '.join(DEFAULT_EVENTS)}",
            json_schema_extra=undocumented_default,
        ),
    ] = list(DEFAULT_EVENTS)  # type: ignore[assignment]  # noqa: RUF012  # of jobs, and of the batch

    def webhooks(self) -> tuple[Webhook, ...] | None:
        """Of jobs that have none of their own."""
        return self.told_of(EventType(name) for name in self.webhook_events if name != BATCH_COMPLETED)

    def own_webhook(self) -> Webhook | None:
        """Of the batch."""
        (webhook,) = self.told_of([EventType.COMPLETED] if BATCH_COMPLETED in self.webhook_events else []) or (None,)
        return webhook

    def drafts(self, caller: Caller) -> list[Draft]:
        """With a custom_id for each, no two with the same, and inputs that the caller may send."""
        drafts: Sequence[Any] = self.items
        first: dict[str, int] = {}
        named = []
        for number, draft in enumerate(drafts):
            custom_id = str(number) if draft.custom_id is None else draft.custom_id
            other = first.setdefault(custom_id, number)
            taken = [{"field": "custom_id", "message": f"is the custom_id of item {other}, too"}]
            errors = draft.errors if other == number else draft.errors + taken
            job_input = None if errors else draft.job_input
            if job_input and not job_input.webhooks:
                job_input = job_input.model_copy(update={"webhooks": self.webhooks()})
            update = {"custom_id": custom_id, "errors": errors, "job_input": job_input}
            named.append(draft.model_copy(update=update).permitted(caller))
        return named

    def digest(self, drafts: Sequence[Draft]) -> str:
        """Of what was sent, and of the collections that the caller's jobs search."""
        sent = json.dumps([draft.sent for draft in drafts], sort_keys=True, separators=(",", ":"))
        sent += "".join(draft.job_input.collection or "" for draft in drafts if draft.job_input)
        sent += "".join(webhook.model_dump_json() for webhook in self.webhooks() or ())
        own = self.own_webhook()
        return digest_with(sent, own) if own else hashlib.sha256(sent.encode()).hexdigest()


def digest_with(sent: str, webhook: Webhook) -> str:
    """Of what was sent, with a webhook of the batch."""
    return hashlib.sha256(f"{sent} {BATCH_COMPLETED} {webhook.model_dump_json()}".encode()).hexdigest()


def item_of(draft: Draft) -> BatchItem:
    return BatchItem(custom_id=draft.custom_id or "", rejection=draft.rejection)
