"""A batch: many jobs of one request. It is written once, before its jobs, and knows their ids; how far they are is read
from their rows.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from crewrelay.jobs.errors import (
    CrewrelayError,
    DamagedJob,
    JobFinished,
    TooManyJobs,
    Unavailable,
    UnknownBatch,
    UnknownJob,
)
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.job import Job, JobInput, Status
from crewrelay.jobs.policy import Policy
from crewrelay.jobs.ports import Clock, JobRecord, JobStore, NewId
from crewrelay.jobs.submission import Submission, keyed_id

logger = logging.getLogger(__name__)

MOST_ITEMS = 1000
_WAVE = 100  # items between two looks at the clock and at the tenant's limit
_THREADS = 16  # each waits for the store
_NO_ROOM = "There are as many unfinished jobs as the limit allows."
T = TypeVar("T")


class BatchItem(BaseModel):
    """`rejection` is what was wrong with an item that is no job."""

    model_config = ConfigDict(frozen=True)

    custom_id: str
    rejection: str = ""


class Batch(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    tenant: str
    digest: str  # of the request
    created_at: datetime
    expires_at: datetime
    items: tuple[BatchItem, ...]

    def job_id(self, item: BatchItem) -> str:
        return keyed_id(self.tenant, f"batch:{self.id}:{item.custom_id}")

    @property
    def job_ids(self) -> list[str]:
        return [self.job_id(item) for item in self.items if not item.rejection]


class BatchStore(Protocol):
    """Every method may raise Unavailable."""

    def create(self, batch: Batch) -> Batch:
        """Put the batch if absent or expired; else return the existing one. Raises IdempotencyConflict if that one's
        digest is another.
        """

    def load(self, batch_id: str, tenant: str) -> Batch | None:
        """A consistent read; None if the batch is unknown or expired, or another tenant's."""


class Submitted(NamedTuple):
    """What became of an item: a job, or the reason why there is none."""

    job: Job | None = None
    error: CrewrelayError | None = None


class Batches:
    def __init__(
        self,
        store: JobStore,
        batches: BatchStore,
        submission: Submission,
        intervention: Intervention,
        clock: Clock,
        new_id: NewId,
        policy: Policy,
    ) -> None:
        self._store = store
        self._batches = batches
        self._submission = submission
        self._intervention = intervention
        self._clock = clock
        self._new_id = new_id
        self._policy = policy

    def submit(
        self,
        tenant: str,
        items: Sequence[tuple[BatchItem, JobInput | None]],
        digest: str,
        key: str | None,
        end: datetime,
    ) -> tuple[Batch, dict[str, Submitted]]:
        """Commit the batch, then its jobs. Returns what became of each item that was not rejected, by its custom_id.
        What there was no time for until `end`, or no room, is submitted when the same request is repeated.

        Raises IdempotencyConflict, Unavailable, TooManyJobs if there is room for none (nothing was accepted).
        """
        batch_id = keyed_id(tenant, f"batch:{key}") if key else self._new_id()
        if not self._submission.room(tenant, 1) and not self._batches.load(batch_id, tenant):
            raise TooManyJobs(_NO_ROOM)  # a repeated request adds no batch, and is answered
        now = self._clock()
        new = Batch(
            id=batch_id,
            tenant=tenant,
            digest=digest,
            created_at=now,
            expires_at=now + self._policy.keep,
            items=tuple(item for item, _ in items),
        )
        batch = self._batches.create(new)
        inputs = {item.custom_id: job_input for item, job_input in items if job_input and not item.rejection}
        wanted = [item for item in batch.items if not item.rejection and item.custom_id in inputs]
        submitted: dict[str, Submitted] = {}
        with ThreadPoolExecutor(_THREADS) as pool:
            for wave in _some(wanted, _WAVE):
                submitted |= self._submit_wave(pool, batch, wave, inputs, end)
        return batch, submitted

    def _submit_wave(
        self,
        pool: ThreadPoolExecutor,
        batch: Batch,
        wave: Sequence[BatchItem],
        inputs: dict[str, JobInput],
        end: datetime,
    ) -> dict[str, Submitted]:
        if self._clock() >= end:
            return {item.custom_id: Submitted(error=Unavailable("There was no time for this item.")) for item in wave}
        try:
            standing = {job.id: job for job in self._store.jobs([batch.job_id(item) for item in wave], batch.tenant)}
            new = [item for item in wave if batch.job_id(item) not in standing]
            room = self._submission.room(batch.tenant, len(new))
        except CrewrelayError as error:
            return {item.custom_id: Submitted(error=error) for item in wave}

        def submit(item: BatchItem) -> Submitted:
            try:
                job_input = inputs[item.custom_id]
                return Submitted(
                    self._submission.submit_admitted(batch.tenant, batch.job_id(item), job_input, batch.id)
                )
            except CrewrelayError as error:
                return Submitted(error=error)

        # Each thread logs with the request's keys, and no context can be entered twice at once.
        made = list(pool.map(lambda item, context: context.run(submit, item), new[:room], _contexts(room)))
        refused = Submitted(error=TooManyJobs(_NO_ROOM))
        found = dict(zip(new[:room], made, strict=True)) | dict.fromkeys(new[room:], refused)
        return {
            item.custom_id: found[item] if item in found else Submitted(standing[batch.job_id(item)]) for item in wave
        }

    def of_tenant(self, tenant: str, batch_id: str) -> Batch:
        """Raises UnknownBatch, also for another tenant's batch."""
        batch = self._batches.load(batch_id, tenant)
        if batch is None:
            raise UnknownBatch(f"There is no batch {batch_id}.")
        return batch

    def jobs(self, batch: Batch) -> list[Job]:
        return self._store.jobs(batch.job_ids, batch.tenant)

    def counts(self, batch: Batch) -> Counter[Status]:
        """Of its jobs in each state, by their rows."""
        return Counter(job.status for job in self.jobs(batch))

    def ended(self, batch: Batch, first: int) -> Iterator[tuple[int, BatchItem, JobRecord | None]]:
        """The items from a number on that have ended, with their numbers: rejected, or with a job. A job that can't be
        read is left out.
        """
        with ThreadPoolExecutor(_THREADS) as pool:
            for some in _some(list(enumerate(batch.items))[first:], _WAVE):
                ids = [batch.job_id(item) for _, item in some if not item.rejection]
                ended = {job.id for job in self._store.jobs(ids, batch.tenant) if job.status.finished}
                there = [(n, item) for n, item in some if item.rejection or batch.job_id(item) in ended]
                for few in _some(there, _THREADS):  # no more are in memory
                    records = pool.map(lambda each: self._record(batch, each[1]), few)
                    for (number, item), record in zip(few, records, strict=True):
                        if record or item.rejection:
                            yield number, item, record

    def _record(self, batch: Batch, item: BatchItem) -> JobRecord | None:
        if item.rejection:
            return None
        try:
            return self._store.load(batch.job_id(item), batch.tenant)
        except DamagedJob as error:
            logger.error("%s", error)
            return None

    def cancel(self, batch: Batch, end: datetime) -> None:
        """Cancel its jobs that have not ended, as many as there is time for."""

        def cancel(job: Job) -> None:
            if self._clock() < end:
                with suppress(JobFinished, UnknownJob):
                    self._intervention.cancel(batch.tenant, job.id)

        unfinished = [job for job in self.jobs(batch) if not job.status.finished]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda job, context: context.run(cancel, job), unfinished, _contexts(len(unfinished))))


def _some(items: Sequence[T], number: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), number):
        yield items[start : start + number]


def _contexts(number: int) -> list[Context]:
    return [copy_context() for _ in range(number)]
