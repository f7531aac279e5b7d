"""What a webhook is told of, as the notifier reads it: a job, or a batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from crewrelay.jobs.log_keys import keys_of
from crewrelay.jobs.ports import JobRecord, JobStore, event_log_of
from crewrelay.jobs.records.events import Event
from crewrelay.jobs.records.subscription import Subscription


class Message(NamedTuple):
    body: bytes
    headers: Mapping[str, str]


# The message of an event, in a format of its own.
Form = Callable[[JobRecord, Event, Subscription], Message]


class Subject(Protocol):
    @property
    def finished(self) -> bool:
        """Whether there will be no further events, unless it is retried."""

    @property
    def log_keys(self) -> Mapping[str, str | int | None]: ...

    def events(self, after: int) -> Sequence[Event]:
        """Those with numbers over `after`. May raise Unavailable."""

    def message(self, event: Event, subscription: Subscription) -> Message: ...


# Raises DamagedJob, Unavailable; None if there is none.
Subjects = Callable[[Subscription], Subject | None]


class JobSubject(NamedTuple):
    record: JobRecord
    store: JobStore
    forms: Mapping[str, Form]

    @property
    def finished(self) -> bool:
        return self.record.job.status.finished

    @property
    def log_keys(self) -> Mapping[str, str | int | None]:
        return keys_of(self.record.job)

    def events(self, after: int) -> Sequence[Event]:
        return event_log_of(self.store, self.record.job, after)

    def message(self, event: Event, subscription: Subscription) -> Message:
        return self.forms[subscription.webhook.form](self.record, event, subscription)


class JobSubjects(NamedTuple):
    store: JobStore
    forms: Mapping[str, Form]

    def of(self, subscription: Subscription) -> Subject | None:
        record = self.store.load(subscription.job_id)
        return record and JobSubject(record, self.store, self.forms)
