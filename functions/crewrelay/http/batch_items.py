"""The schema of a batch's request: each item is checked by itself, and what is wrong with one spoils no other."""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator

from crewrelay.catalogue.request import CrewRequest, TopicRequest, WebhookRequest, complaints, request_of
from crewrelay.jobs.access import Caller
from crewrelay.jobs.batch import MOST_ITEMS, BatchItem
from crewrelay.jobs.errors import ForeignCollection
from crewrelay.jobs.job import JobInput

_LONGEST_ID = 64  # characters
_LONGEST_REJECTION = 100  # bytes that are kept of it

CustomId = Annotated[
    str | None,
    Field(
        pattern=rf"^[ -~]{{1,{_LONGEST_ID}}}$",
        description="Names the item in the results; default: its number in the batch, from 0",
    ),
]


class TopicItem(TopicRequest):
    """A topic and the language to answer in, as for a single run, with an id of the caller's."""

    custom_id: CustomId = None


class CrewItem(CrewRequest):
    """A crew and its inputs, as for a single run, with an id of the caller's."""

    custom_id: CustomId = None


class Draft(BaseModel):
    """An item as it was sent, checked: it has a `job_input`, or `errors` as a problem has them."""

    sent: Any
    custom_id: str | None = None
    job_input: JobInput | None = None
    errors: list[dict[str, str]] = []


def _draft(sent: Any, _: Any) -> Draft:
    if not isinstance(sent, dict):
        return Draft(sent=sent, errors=[{"field": "", "message": "must be a JSON object"}])
    request = {name: value for name, value in sent.items() if name != "custom_id"}
    custom_id, errors = sent.get("custom_id"), list[dict[str, str]]()
    if custom_id is not None and not _is_id(custom_id):
        rule = f"must be 1 to {_LONGEST_ID} printable ASCII characters"
        custom_id, errors = None, [{"field": "custom_id", "message": rule}]
    try:
        job_input = request_of(request).job_input()
    except ValidationError as error:
        return Draft(sent=sent, custom_id=custom_id, errors=errors + complaints(error))
    return Draft(sent=sent, custom_id=custom_id, job_input=None if errors else job_input, errors=errors)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isascii() and value.isprintable()


class BatchRequest(WebhookRequest):
    """Up to 1,000 items, each a body of POST /crewai/run/async. One that breaks a rule is rejected alone. A webhook of
    the batch is told of each job that has none of its own.
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
            try:
                job_input = job_input and caller.permitted(job_input)
            except ForeignCollection as error:
                job_input, errors = None, [{"field": "collection", "message": str(error)}]
            update = {"custom_id": custom_id, "errors": errors, "job_input": job_input}
            named.append(draft.model_copy(update=update))
        return named

    def digest(self) -> str:
        drafts: Sequence[Any] = self.items
        sent = json.dumps([draft.sent for draft in drafts], sort_keys=True, separators=(",", ":"))
        sent += "".join(webhook.model_dump_json() for webhook in self.webhooks() or ())
        return hashlib.sha256(sent.encode()).hexdigest()


def item_of(draft: Draft) -> BatchItem:
    said = "; ".join(f"{error['field']}: {error['message']}" for error in draft.errors)
    rejection = said.encode("utf-8", "replace")[:_LONGEST_REJECTION].decode(errors="ignore")
    return BatchItem(custom_id=draft.custom_id or "", rejection=rejection)
