"""Submitting some items of a batch at once: those that have a job already are left, the others are submitted as far as
there is room below the tenant's limit.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from typing import NamedTuple

from crewrelay.jobs.errors import CrewrelayError, JobFinished, TooManyJobs, UnknownJob
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records.batch import Batch, BatchItem
from crewrelay.jobs.records.job import Job, JobInput
from crewrelay.jobs.submission import Submission

logger = logging.getLogger(__name__)

THREADS = 16  # each waits for the store
NO_ROOM = "There are as many unfinished jobs as the limit allows."

Numbered = tuple[int, BatchItem]


class Submitted(NamedTuple):
    """What became of an item: a job, or the reason why there is none."""

    job: Job | None = None
    error: CrewrelayError | None = None


def submit_wave(
    pool: ThreadPoolExecutor,
    store: JobStore,
    submission: Submission,
    batch: Batch,
    wave: Sequence[Numbered],
    inputs: Mapping[str, JobInput],
    sparing: bool = False,
) -> dict[str, Submitted]:
    """What became of each item, by its custom_id. `sparing`: leave some of the tenant's room to other requests."""
    try:
        standing = {job.id: job for job in store.jobs([batch.job_id(item) for _, item in wave], batch.tenant)}
        new = [(number, item) for number, item in wave if batch.job_id(item) not in standing]
        room = submission.room(batch.tenant, len(new), sparing)
    except CrewrelayError as error:
        return {item.custom_id: Submitted(error=error) for _, item in wave}

    def submit(number: int, item: BatchItem) -> Submitted:
        try:
            job_input = inputs[item.custom_id]
            return Submitted(submission.submit_admitted(batch.tenant, batch.job_id(item), job_input, batch.id, number))
        except CrewrelayError as error:
            return Submitted(error=error)
        except Exception as error:  # of this item alone: it must not keep the others
            logger.exception("could not submit an item")
            return Submitted(error=CrewrelayError(f"It could not be submitted: {type(error).__name__}."))

    # Each thread logs with the request's keys, and no context can be entered twice at once.
    made = pool.map(lambda each, context: context.run(submit, *each), new[:room], contexts(room))
    refused = Submitted(error=TooManyJobs(NO_ROOM))
    found = {item.custom_id: Submitted(standing.get(batch.job_id(item))) for _, item in wave}
    found |= {item.custom_id: each for (_, item), each in zip(new[:room], made, strict=True)}
    return found | {item.custom_id: refused for _, item in new[room:]}


def cancel_wave(pool: ThreadPoolExecutor, intervention: Intervention, jobs: Sequence[Job]) -> None:
    """Cancel these jobs, unless they have ended or are gone."""

    def cancel(job: Job) -> None:
        with suppress(JobFinished, UnknownJob):
            intervention.cancel(job.tenant, job.id)

    unfinished = [job for job in jobs if not job.status.finished]
    list(pool.map(lambda job, context: context.run(cancel, job), unfinished, contexts(len(unfinished))))


def contexts(number: int) -> Iterator[Context]:
    """As many copies of this thread's context."""
    return iter([copy_context() for _ in range(number)])
