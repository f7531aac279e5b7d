"""Adds to a job's event log what a write tells. Whoever saves a job passes it through `told` first."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from crewrelay.jobs import events
from crewrelay.jobs.events import Value, What
from crewrelay.jobs.job import Job, Status
from crewrelay.jobs.journal import Call

_ENDS = {Status.COMPLETED: What.COMPLETED, Status.FAILED: What.FAILED, Status.CANCELLED: What.CANCELLED}


def told(before: Job | None, after: Job, now: datetime) -> Job:
    """The job with what has become of it, if the row says so. `before` is None for a new job."""
    what = what_of(before, after)
    if what is None:
        return after
    details: tuple[Value, ...] = ()
    if what is What.CLAIMED:
        details = (after.fence,)
    elif what in (What.FAILED, What.BACKED_OFF) and after.error:
        details = (after.error.type,)
    return _with(after, what, now, *details)


def what_of(before: Job | None, after: Job) -> What | None:
    """What the change of a row is called; None for a renewal."""
    if before is None:
        return What.SUBMITTED
    if after.status.finished:
        return _ENDS[after.status]
    if after.status is Status.RUNNING:
        return What.CLAIMED if after.fence > before.fence else None
    if after.status is Status.WAITING:
        return What.WAITING
    if before.status is Status.WAITING:
        return What.RESUMED
    if before.status is Status.RUNNING:
        return What.RELAYED if after.relays > before.relays else What.BACKED_OFF
    return What.RETRIED if before.status.finished else None


def with_call(job: Job, call: Call, now: datetime) -> Job:
    logged = (*job.log, events.of_call(call, job.created_at, now))
    return job.model_copy(update={"log": logged, "calls_told": job.calls_told + 1})


def with_calls(job: Job, calls: Iterable[Call], now: datetime) -> Job:
    """With calls of which no run could tell, because it died after it had journaled them."""
    for call in calls:
        job = with_call(job, call, now)
    return job


def begin_task(job: Job, nth: int, name: str, agent: str, number: int, of: int, now: datetime) -> Job:
    """The `nth` task of its run, which is the `number`-th of its crew."""
    name, agent = events.short(name), events.short(agent)
    job = _progressed(job, begun=nth, total=of, task=name, agent=agent)
    return _with(job, What.TASK_STARTED, now, number, of, name, agent)


def end_tasks(job: Job, ended: int, now: datetime) -> Job:
    """With the ends of tasks up to the `ended`-th of a run."""
    for nth in range(job.progress.ended + 1, ended + 1):
        job = _with(_progressed(job, ended=nth), What.TASK_COMPLETED, now, nth)
    return job


def _progressed(job: Job, **change: Any) -> Job:
    return job.model_copy(update={"progress": job.progress.model_copy(update=change)})


def _with(job: Job, what: What, now: datetime, *details: Value) -> Job:
    return job.model_copy(update={"log": (*job.log, events.entry(what, job.created_at, now, *details))})


def without_moved(job: Job, moved: int) -> Job:
    """Without its first entries, which are in rows of their own now."""
    return job.model_copy(update={"log": job.log[moved:], "log_from": job.log_from + moved})
