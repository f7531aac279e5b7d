"""Adds an entry for a change of a job to its event log. Whoever saves a job passes it through `logged` first."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from crewrelay.jobs.records import events, transitions
from crewrelay.jobs.records.events import EventType, Value
from crewrelay.jobs.records.job import Failure, Job, Status
from crewrelay.jobs.records.journal import Call

_ENDS = {Status.COMPLETED: EventType.COMPLETED, Status.FAILED: EventType.FAILED, Status.CANCELLED: EventType.CANCELLED}


def logged(before: Job | None, after: Job, now: datetime) -> Job:
    """The job with an entry for what has changed, if anything but its lease has. `before` is None for a new job."""
    what = what_of(before, after)
    if what is None:
        return after
    details: tuple[Value, ...] = ()
    if what is EventType.CLAIMED:
        details = (after.fence,)
    elif what in (EventType.FAILED, EventType.BACKED_OFF) and after.error:
        details = (after.error.type,)
    return _with(after, what, now, *details)


def ended_unread(job: Job, error: Failure, now: datetime) -> Job:
    """A job whose input can't be read, failed with an entry for it."""
    return logged(job, transitions.fail_unread(job, error, now), now)


def what_of(before: Job | None, after: Job) -> EventType | None:
    """What the change of a row is called; None for a renewal, or another mark on a job that has ended."""
    if before is None:
        return EventType.SUBMITTED
    if after.status.finished:
        return None if before.status is after.status else _ENDS[after.status]
    if after.status is Status.RUNNING:
        return EventType.CLAIMED if after.fence > before.fence else None
    if after.status is Status.WAITING:
        return EventType.WAITING
    if before.status is Status.WAITING:
        return EventType.RESUMED
    if before.status is Status.RUNNING:
        return EventType.RELAYED if after.relays > before.relays else EventType.BACKED_OFF
    return EventType.RETRIED if before.status.finished else None


def added(before: Job | None, after: Job) -> set[str]:
    """The types of the events that a write has added to the log."""
    new = last_number(after) - (last_number(before) if before else 0)
    return {str(what) for what, *_ in after.log[-new:]} if new > 0 else set()


def last_number(job: Job) -> int:
    """Of its last event."""
    return job.log_from + len(job.log) - 1


def with_call(job: Job, call: Call, now: datetime) -> Job:
    logged = (*job.log, events.of_call(call, job.created_at, now))
    return job.model_copy(update={"log": logged, "calls_logged": job.calls_logged + 1})


def with_calls(job: Job, calls: Iterable[Call], now: datetime) -> Job:
    """With calls that a run journaled, but died before it logged them."""
    for call in calls:
        job = with_call(job, call, now)
    return job


def begin_task(job: Job, nth: int, name: str, agent: str, number: int, of: int, now: datetime) -> Job:
    """The `nth` task of its run, which is the `number`-th of its crew."""
    name, agent = events.short(name), events.short(agent)
    job = _progressed(job, begun=nth, total=of, task=name, agent=agent)
    return _with(job, EventType.TASK_STARTED, now, number, of, name, agent)


def end_tasks(job: Job, ended: int, now: datetime) -> Job:
    """With the ends of tasks up to the `ended`-th of a run."""
    for nth in range(job.progress.ended + 1, ended + 1):
        job = _with(_progressed(job, ended=nth), EventType.TASK_COMPLETED, now, nth)
    return job


def _progressed(job: Job, **change: Any) -> Job:
    return job.model_copy(update={"progress": job.progress.model_copy(update=change)})


def _with(job: Job, what: EventType, now: datetime, *details: Value) -> Job:
    return job.model_copy(update={"log": (*job.log, events.entry(what, job.created_at, now, *details))})


def without_moved(job: Job, moved: int) -> Job:
    """Without its first entries, which are in rows of their own now."""
    return job.model_copy(update={"log": job.log[moved:], "log_from": job.log_from + moved})
