"""Metrics, log events and the notifier's bell, told from the writes that the store accepted, so that each counts once.

A job ends by exactly one conditional write of a worker, the sweeper or a caller; whoever made it reports it.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from crewrelay.jobs.errors import Overdue, ServiceRefused
from crewrelay.jobs.listing import Filter, Page, Position
from crewrelay.jobs.log_keys import keys_of, logged_with
from crewrelay.jobs.ports import Doorbell, JobRecord, JobStore, Measure, Meter
from crewrelay.jobs.records.answer import Answer, File
from crewrelay.jobs.records.event_log import added, what_of
from crewrelay.jobs.records.events import EventRow, EventType
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind
from crewrelay.jobs.records.questions import Question
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.submission import ring

logger = logging.getLogger(__name__)

_ENDS = {
    Status.COMPLETED: Measure.JOBS_COMPLETED,
    Status.FAILED: Measure.JOBS_FAILED,
    Status.CANCELLED: Measure.JOBS_CANCELLED,
}

_LINES = {
    EventType.WAITING: "job waits for an answer",
    EventType.RESUMED: "job answered, or its question expired",
    EventType.BACKED_OFF: "job given back: to be tried again",
    EventType.RETRIED: "job to be tried again, as was asked for",
}

Measures = dict[Measure, float]


class ObservedStore:
    """A job store that reports each accepted write, and rings for those that a webhook is to be told of."""

    def __init__(self, inner: JobStore, meter: Meter, notifier: Doorbell | None = None) -> None:
        self._inner = inner
        self._meter = meter
        self._notifier = notifier

    def create(self, job: Job, job_input: JobInput, subscriptions: Sequence[Subscription] = ()) -> Job:
        with self._refusals():
            existing = self._inner.create(job, job_input, subscriptions)
        if existing is job:  # and not an existing job with the same idempotency key
            self._report(job, "job accepted", {Measure.JOBS_ACCEPTED: 1})
            self._notify(None, job)
        return existing

    def save(self, before: Job, after: Job) -> None:
        with self._refusals():
            self._inner.save(before, after)
        self._report(after, transition_event(before, after), measures_of(before, after))
        self._notify(before, after)

    def put_call(self, job: Job, call: Call) -> Call:
        with self._refusals():
            kept = self._inner.put_call(job, call)
        if call.kind is Kind.MODEL:  # paid, even if another run's reply was kept instead
            self._meter.record(_price(call))
        return kept

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        with self._refusals():
            return self._inner.load(job_id, tenant)

    def jobs(self, job_ids: Sequence[str], tenant: str) -> list[Job]:
        with self._refusals():
            return self._inner.jobs(job_ids, tenant)

    def statuses(self, job_ids: Sequence[str], tenant: str) -> dict[str, Status]:
        with self._refusals():
            return self._inner.statuses(job_ids, tenant)

    def listed(self, tenant: str, wanted: Filter, after: Position | None, limit: int) -> Page:
        with self._refusals():
            return self._inner.listed(tenant, wanted, after, limit)

    def titles(self, job_ids: Sequence[str], tenant: str) -> dict[str, str]:
        with self._refusals():
            return self._inner.titles(job_ids, tenant)

    def delete(self, job: Job) -> None:
        with self._refusals():
            self._inner.delete(job)
        self._report(job, "job deleted", {})

    def put_answer(self, job: Job, answer: Answer) -> None:
        with self._refusals():
            self._inner.put_answer(job, answer)

    def put_question(self, job: Job, question_id: str, question: Question) -> None:
        with self._refusals():
            self._inner.put_question(job, question_id, question)

    def put_file(self, job: Job, file: File) -> None:
        with self._refusals():
            self._inner.put_file(job, file)

    def read_file(self, job: Job, file: File) -> bytes | str | None:
        with self._refusals():
            return self._inner.read_file(job, file)

    def put_events(self, job: Job, row: EventRow) -> None:
        with self._refusals():
            self._inner.put_events(job, row)

    def events(self, job: Job, after: int = 0) -> Iterable[EventRow]:
        with self._refusals():
            return self._inner.events(job, after)

    def journal(self, job: Job) -> Iterator[Call]:
        with self._refusals():
            yield from self._inner.journal(job)

    def entries(self, job: Job) -> Sequence[Call]:
        with self._refusals():
            return self._inner.entries(job)

    def unfinished(self, tenant: str, most: int) -> int:
        with self._refusals():
            return self._inner.unfinished(tenant, most)

    def due(self, status: Status, moment: datetime) -> Iterator[str]:
        with self._refusals():
            yield from self._inner.due(status, moment)

    def delete_expired(self) -> int:
        with self._refusals():
            return self._inner.delete_expired()

    def end_damaged(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        with self._refusals():
            ended = self._inner.end_damaged(job_id, error, now, due_before)
        if ended:
            logger.error("job failed: it can't be read", extra={"job_id": job_id})
            self._meter.record({Measure.JOBS_FAILED: 1})
        return ended

    def _notify(self, before: Job | None, after: Job) -> None:
        if self._notifier and not added(before, after).isdisjoint(after.notify):
            ring(self._notifier, after.id)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """A refusal by the table is not the job's fault and is retried: log it and count it for the operator."""
        try:
            yield
        except ServiceRefused as error:
            logger.error("%s", error)
            self._meter.record({Measure.REFUSALS: 1})
            raise

    def _report(self, job: Job, event: str | None, measures: Measures) -> None:
        if event:
            with logged_with(**keys_of(job), fence=job.fence):
                why = {"error": job.error.type} if job.error and job.status is not Status.RUNNING else {}
                logger.info(event, extra={"attempts": job.attempts, "relays": job.relays, **why})
        if measures:
            self._meter.record(measures)


def transition_event(before: Job, after: Job) -> str | None:
    """Log event of a transition, or None."""
    what = what_of(before, after)
    return what and _LINES.get(what, f"job {what}")


def measures_of(before: Job, after: Job) -> Measures:
    """Metrics of a transition."""
    measured: Measures = {}
    if replays := after.receipt.calls_replayed - before.receipt.calls_replayed:
        measured[Measure.REPLAYS] = replays
    if before.fence == 0 and after.started_at:
        measured[Measure.TIME_IN_QUEUE] = _milliseconds(after.started_at - after.created_at)
    if before.status is Status.RUNNING and after.status is Status.PENDING:
        measured[Measure.RELAYS if after.relays > before.relays else Measure.RETRIES] = 1
    if after.strikes > before.strikes:
        measured[Measure.CREWS_STUCK] = 1
    if after.status.finished and before.status is not after.status:
        measured[_ENDS[after.status]] = 1
        if after.error and after.error.type == Overdue.code:
            measured[Measure.JOBS_OVERDUE] = 1
        if after.started_at and after.finished_at:
            measured[Measure.RUN_TIME] = _milliseconds(after.finished_at - after.started_at)
    return measured


def _price(call: Call) -> Measures:
    reply = call.reply
    price: Measures = {Measure.CALLS: 1, Measure.TOKENS: reply.prompt_tokens + reply.completion_tokens}
    return price if reply.cost_usd is None else price | {Measure.COST_USD: float(reply.cost_usd)}


def _milliseconds(duration: timedelta) -> float:
    return max(0.0, duration / timedelta(milliseconds=1))  # clocks differ
