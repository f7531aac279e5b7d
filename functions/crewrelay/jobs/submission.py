"""Accepting a job: a committed row first, the bell second."""

import logging
import uuid
from datetime import timedelta

from crewrelay.jobs.cap import Cap
from crewrelay.jobs.errors import TooManyJobs
from crewrelay.jobs.job import Job, JobInput, Status, submit
from crewrelay.jobs.log_keys import correlation_id
from crewrelay.jobs.policy import Policy
from crewrelay.jobs.ports import Clock, Doorbell, JobStore, NewId

logger = logging.getLogger(__name__)

_KEYED_JOBS = uuid.UUID("6f1c0f0e-6d0e-5c59-9a53-0b0d7f1f5e11")


def keyed_id(tenant: str, key: str) -> str:
    """The id of the job that an idempotency key stands for."""
    return str(uuid.uuid5(_KEYED_JOBS, f"{tenant}\n{key}"))


def message_key(message_id: str) -> str:
    """The idempotency key of a message of the intake queue. `message_id` is what SQS answered to its sender."""
    return f"intake:{message_id}"


class Submission:
    """`most_unfinished` is how many unfinished jobs a tenant may have; None is as many as it likes, and none of them
    counts.
    """

    def __init__(
        self,
        store: JobStore,
        doorbell: Doorbell,
        clock: Clock,
        new_id: NewId,
        policy: Policy,
        most_unfinished: int | None = None,
    ) -> None:
        self._store = store
        self._doorbell = doorbell
        self._clock = clock
        self._new_id = new_id
        self._policy = policy
        self._capped = most_unfinished is not None
        self._cap = Cap(store, clock, most_unfinished)

    def submit(self, tenant: str, job_input: JobInput, key: str | None = None) -> Job:
        """Commit a job and ring for it. A bell that can't be rung doesn't undo the commit.

        `key` is the caller's idempotency key: the same key and input give the same job.
        Raises IdempotencyConflict, TooManyJobs, Unavailable (nothing was accepted).
        """
        job = self.accept(tenant, job_input, key)
        if job.status is Status.PENDING:
            ring(self._doorbell, job.id)
        return job

    def accept(self, tenant: str, job_input: JobInput, key: str | None = None) -> Job:
        """Only commit the job, for a caller who will run it himself; should he die of it, the sweeper rings."""
        job_id = keyed_id(tenant, key) if key else self._new_id()
        try:
            self._cap.admit(tenant)
        except TooManyJobs:
            if not key or self._store.load(job_id, tenant) is None:  # a repeat adds none
                raise
        job = submit(job_id, tenant, job_input, self._clock(), self._policy, correlation_id(), capped=self._capped)
        return self._store.create(job, job_input)


def ring(doorbell: Doorbell, job_id: str, delay: timedelta = timedelta()) -> None:
    """Ring for a job whose row says when it is due: if the bell fails, in whatever way, the sweeper rings again."""
    try:
        doorbell.ring(job_id, delay)
    except Exception:
        logger.warning("could not ring", extra={"job_id": job_id}, exc_info=True)
