"""Batches as webhooks are told of them: of their end, once every item has ended."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from crewrelay.jobs.batches.counting import Counting, Counts
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.batch import Batch
from crewrelay.jobs.records.events import Event, EventType
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.webhooks.subjects import Message, Subject

_END = 1  # the number of the only event


class BatchRecord(NamedTuple):
    """`counts` once every item has ended."""

    batch: Batch
    counts: Counts | None


# The message of a batch's end, in a format of its own.
BatchForm = Callable[[BatchRecord, Event, Subscription], Message]


class BatchSubject(NamedTuple):
    record: BatchRecord
    end: Event | None
    forms: Mapping[str, BatchForm]
    finished: bool

    @property
    def log_keys(self) -> Mapping[str, str | int | None]:
        return {"batch_id": self.record.batch.id, "tenant": self.record.batch.tenant}

    def events(self, after: int) -> Sequence[Event]:
        return [self.end] if self.end and after < _END else []

    def message(self, event: Event, subscription: Subscription) -> Message:
        return self.forms[subscription.webhook.form](self.record, event, subscription)


class BatchSubjects(NamedTuple):
    counting: Counting
    forms: Mapping[str, BatchForm]
    clock: Clock

    def of(self, subscription: Subscription) -> Subject | None:
        """One whose webhook has been told is not counted again."""
        batch = self.counting.batches.load(subscription.batch or "", subscription.tenant)
        if batch is None:
            return None
        if subscription.after >= _END:
            return BatchSubject(BatchRecord(batch, None), None, self.forms, finished=True)
        counts, now = self.counting.ended(batch, self.clock()), self.clock()
        end = Event(_END, subscription.ended_at or now, EventType.COMPLETED, {}) if counts else None
        return BatchSubject(BatchRecord(batch, counts), end, self.forms, finished=counts is not None)
