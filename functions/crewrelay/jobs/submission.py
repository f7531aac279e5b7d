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
        return self._accept(tenant, job_input, key, ring_in=timedelta())

    def submit_to_run_here(
        self, tenant: str, job_input: JobInput, key: str | None = None, *, within: timedelta = timedelta()
    ) -> Job:
        """The same for a caller who runs the job himself, within so long: then it rings, should he have died of it."""
        return self._accept(tenant, job_input, key, ring_in=within + self._policy.ring_again)

    def _accept(self, tenant: str, job_input: JobInput, key: str | None, ring_in: timedelta) -> Job:
        job_id = str(uuid.uuid5(_KEYED_JOBS, f"{tenant}\n{key}")) if key else self._new_id()
        job = self._store.create(submit(job_id, tenant, job_input, self._clock(), self._policy), job_input)
        if job.status is Status.PENDING:
            try:
                self._doorbell.ring(job.id, ring_in)
            except Unavailable:
                logger.warning("accepted, but could not ring", extra={"job_id": job.id}, exc_info=True)
        return job
