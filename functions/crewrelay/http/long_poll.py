"""Waits for a job to change. A caller who waits holds no thread."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from crewrelay.jobs.ports import Changes, Clock, JobStore, job_of_tenant
from crewrelay.jobs.records.job import Job

# Seconds between looks at a job. A change that is told ends a pause early, but not before the least.
_LEAST_PAUSE, _FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 0.5, 5.0, 1.5


class LongPoll(NamedTuple):
    """A caller may wait until `timeout` after the gateway got the request."""

    changes: Changes
    clock: Clock
    timeout: timedelta

    def clamped(self, seconds: int) -> int:
        return min(seconds, int(self.timeout.total_seconds()))


async def looks(
    store: JobStore, long_poll: LongPoll, tenant: str, job_id: str, end: datetime
) -> AsyncGenerator[tuple[Job, bool], None]:
    """The job as it is, again and again until that time, and whether this is the last look. Raises UnknownJob."""
    pause, time = _FIRST_PAUSE, asyncio.get_running_loop().time
    latest = time() + (end - long_poll.clock()).total_seconds()  # whatever becomes of the clock meanwhile
    while True:
        told = long_poll.changes.seen()
        job = await run_in_threadpool(job_of_tenant, store, tenant, job_id)
        left = min((end - long_poll.clock()).total_seconds(), latest - time())
        yield job, job.status.finished or left <= 0
        if job.status.finished or left <= 0:
            return
        await asyncio.sleep(min(_LEAST_PAUSE, left))
        await long_poll.changes.after(told, min(pause, left))
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)
