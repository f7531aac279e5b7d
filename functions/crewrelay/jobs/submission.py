"""Submitting a job: commit the row, then ring the doorbell."""

import logging
from datetime import timedelta

from crewrelay.jobs.cap import Cap
from crewrelay.jobs.errors import TooManyJobs
from crewrelay.jobs.log_keys import correlation_id
from crewrelay.jobs.ports import Clock, Doorbell, JobStore, NewId
from crewrelay.jobs.records.event_log import logged
from crewrelay.jobs.records.job import Job, JobInput, Status, keyed_id
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.subscription import subscribe
from crewrelay.jobs.records.transitions import submit

logger = logging.getLogger(__name__)


def message_key(message_id: str) -> str:
    """The idempotency key of an intake message. `message_id` is what SQS returned to its sender."""
    return f"intake:{message_id}"


class Submission:
    """`most_unfinished` is the limit of unfinished jobs per tenant. With None there is none, and jobs submitted now
    never count.
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
        """Commit a job and ring for it. The job stays accepted if the bell can't be rung.

        `key` is the caller's idempotency key: the same key and input return the same job.
        Raises IdempotencyConflict, TooManyJobs, Unavailable (nothing was accepted).
        """
        job = self.accept(tenant, job_input, key)
        if job.status is Status.PENDING:
            ring(self._doorbell, job.id)
        return job

    def accept(self, tenant: str, job_input: JobInput, key: str | None = None) -> Job:
        """Commit the job without ringing, for a caller that runs it itself; the sweeper rings if that process dies."""
        job_id = keyed_id(tenant, key) if key else self._new_id()
        try:
            self._cap.admit(tenant)
        except TooManyJobs:
            if not key or self._store.load(job_id, tenant) is None:  # a repeated request adds no job
                raise
        return self._create(tenant, job_id, job_input)

    def room(self, tenant: str, jobs: int, sparing: bool = False) -> int:
        """How many of so many jobs the tenant's limit admits now. Raises Unavailable."""
        return self._cap.room(tenant, jobs, sparing) if jobs else 0

    def submit_admitted(self, tenant: str, job_id: str, job_input: JobInput, batch: str, number: int = 0) -> Job:
        """As `submit`, for the n-th item of a batch that there is room for."""
        job = self._create(tenant, job_id, job_input, batch, number)
        if job.status is Status.PENDING:
            ring(self._doorbell, job.id)
        return job

    def _create(self, tenant: str, job_id: str, job_input: JobInput, batch: str | None = None, number: int = 0) -> Job:
        now, correlation = self._clock(), correlation_id()
        job = submit(job_id, tenant, job_input, now, self._policy, correlation, capped=self._capped, batch=batch)
        job = job.model_copy(update={"batch_item": number})
        webhooks = enumerate(job_input.webhooks or ())
        subscriptions = [subscribe(job, webhook, nth, now) for nth, webhook in webhooks]
        return self._store.create(logged(None, job, now), job_input, subscriptions)


def ring(doorbell: Doorbell, job_id: str, delay: timedelta = timedelta()) -> None:
    """Ring for a job. Never raises: its row says when it is due, so the sweeper rings again."""
    try:
        doorbell.ring(job_id, delay)
    except Exception:
        logger.warning("could not ring", extra={"job_id": job_id}, exc_info=True)
