"""What happens to a task, as A2A's updates, from the event log of its job: every stream tells the same."""

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Any

from starlette.concurrency import run_in_threadpool

from crewrelay.http.long_poll import looks
from crewrelay.http.protocols.a2a import tasks
from crewrelay.http.services import Services
from crewrelay.http.wire import UrlOfFile
from crewrelay.jobs.errors import UnknownJob
from crewrelay.jobs.ports import event_log_of, record_of_tenant
from crewrelay.jobs.records.event_log import last_number
from crewrelay.jobs.records.events import Event, EventType
from crewrelay.jobs.records.job import Job, Status

Update = dict[str, Any]


async def updates(
    services: Services, job: Job, end: datetime, url_of: UrlOfFile, *, until_waiting: bool
) -> AsyncIterator[Update]:
    """The updates since `job` was read, until it has ended, waits, was deleted, or the time is up."""
    store, after = services.store, last_number(job)
    if _stops(job, until_waiting):
        after -= 1  # tell how it is all the same: clients wait for that
    with suppress(UnknownJob):
        async with aclosing(looks(store, services.long_poll, job.tenant, job.id, end)) as seen:
            async for now, _ in seen:
                if last_number(now) > after:
                    for event in await run_in_threadpool(event_log_of, store, now, after):
                        after = event.number
                        if update := _progress(now, event):
                            yield update
                    if _stops(now, until_waiting=True):
                        record = await run_in_threadpool(record_of_tenant, store, job.tenant, job.id)
                        for artifact in tasks.artifacts_of(record, url_of):
                            yield {"artifactUpdate": _ids(now) | {"artifact": artifact, "lastChunk": True}}
                        yield {"statusUpdate": _ids(now) | {"status": tasks.status_of(now, record)}}
                if _stops(now, until_waiting):
                    return


def _stops(job: Job, until_waiting: bool) -> bool:
    return job.status.finished or (until_waiting and job.status is Status.WAITING)


def _progress(job: Job, event: Event) -> Update | None:
    """The update for an event in the middle of the work. The job's own state, if it stands still, is told with more."""
    said, state = "", tasks.WORKING
    if event.what is EventType.TASK_STARTED:
        details = event.details
        said = f"Task {details['task']} of {details['of']}: {details['name']} ({details['agent']})"
    elif event.what is EventType.WAITING and not (job.status is Status.WAITING and event.number == last_number(job)):
        state = tasks.STATES[Status.WAITING]  # somebody has answered since
    elif event.what not in (EventType.CLAIMED, EventType.RESUMED):
        return None
    status: dict[str, Any] = {"state": state, "timestamp": tasks.time(event.at)}
    if said:
        status["message"] = tasks.message_of(job, f"event-{event.number}", said)
    return {"statusUpdate": _ids(job) | {"status": status}}


def _ids(job: Job) -> dict[str, Any]:
    return {"taskId": job.id, "contextId": tasks.context_of(job)}
