"""A job and its life, as pure functions: pending → running → completed | failed | cancelled.

Running goes back to pending by a release; an expired lease is taken over by the next claim. Nothing here
knows a clock: every transition takes `now` and returns a new Job, or raises StaleWrite if it may not happen.
"""

import hashlib
import json
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.text import Text


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self not in (Status.PENDING, Status.RUNNING)


class Policy(BaseModel):
    """How long things may take. The lease outlives twice the clock skew we accept plus one renewal."""

    model_config = ConfigDict(frozen=True)

    lease: timedelta = timedelta(seconds=60)
    max_attempts: int = 5
    keep: timedelta = timedelta(days=30)

    @property
    def ring_again(self) -> timedelta:
        """When to look again at a job that somebody else has in hand: a lease without renewals is over by then."""
        return self.lease * 1.5

    @property
    def renewal(self) -> timedelta:
        return self.lease / 3


class JobInput(BaseModel):
    """Which crew, and what it is given."""

    model_config = ConfigDict(frozen=True)

    crew: str
    inputs: dict[str, str]

    def digest(self) -> str:
        """SHA-256 of the canonical JSON: the same input always, a different one never."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


class Failure(BaseModel):
    """Why a job failed, in words a person can act on."""

    model_config = ConfigDict(frozen=True)

    type: str
    message: Text
    retryable: bool = False


class Job(BaseModel):
    """The row that every decision is taken on. All times are UTC."""

    model_config = ConfigDict(frozen=True)

    id: str
    tenant: str
    crew: str
    input_digest: str
    status: Status = Status.PENDING
    fence: int = 0
    holder: str | None = None  # who claimed: tells the repeat of a write from a rival's
    attempts: int = 0
    created_at: datetime
    not_before: datetime | None = None  # a backoff, and nothing else: clocks differ
    due_at: datetime | None  # when somebody must look again; None once nothing is owed
    lease_until: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime
    error: Failure | None = None


def submit(job_id: str, tenant: str, job_input: JobInput, now: datetime, policy: Policy) -> Job:
    return Job(
        id=job_id,
        tenant=tenant,
        crew=job_input.crew,
        input_digest=job_input.digest(),
        created_at=now,
        due_at=now + policy.ring_again,
        expires_at=now + policy.keep,
    )


def claimable(job: Job, now: datetime) -> bool:
    """Pending and due, or running on a lease that has run out."""
    if job.status is Status.PENDING:
        return job.not_before is None or job.not_before <= now
    return job.status is Status.RUNNING and job.lease_until is not None and job.lease_until < now


def claim(job: Job, holder: str, now: datetime, policy: Policy) -> Job:
    """Start an attempt under a new fence: whoever held an older one is refused from now on."""
    if not claimable(job, now):
        raise StaleWrite(f"job {job.id} is {job.status} and not to be claimed now")
    return job.model_copy(
        update={
            "status": Status.RUNNING,
            "fence": job.fence + 1,
            "holder": holder,
            "attempts": job.attempts + 1,
            "started_at": job.started_at or now,
            "lease_until": now + policy.lease,
            "due_at": now + policy.lease,
        }
    )


def renew(job: Job, now: datetime, policy: Policy) -> Job:
    _require_running(job)
    return job.model_copy(update={"lease_until": now + policy.lease, "due_at": now + policy.lease})


def release(job: Job, now: datetime, policy: Policy) -> Job:
    """Give the job back, to be claimed by whoever answers the bell next."""
    _require_running(job)
    return job.model_copy(
        update={
            "status": Status.PENDING,
            "holder": None,
            "lease_until": None,
            "not_before": None,
            "due_at": now + policy.ring_again,
        }
    )


def complete(job: Job, now: datetime) -> Job:
    _require_running(job)
    return _finish(job, Status.COMPLETED, now)


def fail(job: Job, error: Failure, now: datetime) -> Job:
    if job.status.finished:
        raise StaleWrite(f"job {job.id} is already {job.status}")
    return _finish(job.model_copy(update={"error": error}), Status.FAILED, now)


def exhaust(job: Job, error: Failure, now: datetime) -> Job:
    """Fail a job that may not be tried again, under a new fence: a holder who comes back late is refused."""
    if not claimable(job, now):
        raise StaleWrite(f"job {job.id} is {job.status} and not to be given up now")
    return fail(job.model_copy(update={"fence": job.fence + 1}), error, now)


def cancel(job: Job, now: datetime) -> Job:
    if job.status.finished:
        raise StaleWrite(f"job {job.id} is already {job.status}")
    return _finish(job, Status.CANCELLED, now)


def _finish(job: Job, status: Status, now: datetime) -> Job:
    return job.model_copy(
        update={"status": status, "finished_at": now, "holder": None, "lease_until": None, "due_at": None}
    )


def _require_running(job: Job) -> None:
    if job.status is not Status.RUNNING:
        raise StaleWrite(f"job {job.id} is {job.status}, not running")
