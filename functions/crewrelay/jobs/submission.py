"""Accepting a job: a committed row first, the bell second."""

import logging
import uuid
from datetime import timedelta

from crewrelay.jobs.errors import Unavailable
from crewrelay.jobs.job import Job, JobInput, Policy, Status, submit
from crewrelay.jobs.ports import Clock, Doorbell, JobStore, NewId

logger = logging.getLogger(__name__)

_KEYED_JOBS = uuid.UUID("6f1c0f0e-6d0e-5c59-9a53-0b0d7f1f5e11")


class Submission:
    def __init__(self, store: JobStore, doorbell: Doorbell, clock: Clock, new_id: NewId, policy: Policy) -> None:
        self._store = store
        self._doorbell = doorbell
        self._clock = clock
        self._new_id = new_id
        self._policy = policy

    def submit(self, tenant: str, job_input: JobInput, key: str | None = None) -> Job:
        """Commit a job and ring for it. A bell that can't be rung doesn't undo the commit.

        `key` is the caller's idempotency key: the same key and input give the same job.
        Raises IdempotencyConflict, Unavailable (nothing was accepted).
        """
        job = self.accept(tenant, job_input, key)
        self._ring(job, timedelta())
        return job

    def accept(self, tenant: str, job_input: JobInput, key: str | None = None) -> Job:
        """Only commit the job, for a caller who will run it himself and has yet to `ring_later`."""
        job_id = str(uuid.uuid5(_KEYED_JOBS, f"{tenant}\n{key}")) if key else self._new_id()
        return self._store.create(submit(job_id, tenant, job_input, self._clock(), self._policy), job_input)

    def ring_later(self, job: Job, within: timedelta) -> None:
        """Ring for a job that its caller runs himself within so long, should he have died of it."""
        self._ring(job, within + self._policy.ring_again)

    def _ring(self, job: Job, delay: timedelta) -> None:
        if job.status is not Status.PENDING:
            return
        try:
            self._doorbell.ring(job.id, delay)
        except Unavailable:
            logger.warning("accepted, but could not ring", extra={"job_id": job.id}, exc_info=True)
