"""The job's state machine as pure functions: pending → running → completed | failed | cancelled.

A release returns a running job to pending; the next claim takes over an expired lease. A question takes it from
running to waiting, the answer from there to pending. Nothing here reads a clock: every transition takes `now` and
returns a new Job, or raises StaleWrite if the job's state forbids it.
"""

from datetime import datetime, timedelta
from typing import Any

from crewrelay.jobs.errors import AttemptsExhausted, CrewrelayError, Overdue, StaleWrite
from crewrelay.jobs.records.job import Failure, Job, JobInput, Progress, Status
from crewrelay.jobs.records.journal import Call, Receipt
from crewrelay.jobs.records.policy import Policy

_MOST_DISCARDED = 4  # the row stays small: beyond four, the oldest reply is replayed


def submit(
    job_id: str,
    tenant: str,
    job_input: JobInput,
    now: datetime,
    policy: Policy,
    correlation_id: str | None = None,
    *,
    capped: bool = True,
    batch: str | None = None,
) -> Job:
    return Job(
        id=job_id,
        batch=batch,
        revision=1,
        tenant=tenant,
        capped=capped,
        correlation_id=correlation_id,
        crew=job_input.crew,
        input_digest=job_input.digest(),
        notify=tuple(sorted({event for webhook in job_input.webhooks or () for event in webhook.events})),
        created_at=now,
        due_at=now + policy.ring_again,
        end_by=now + policy.max_age,
        expires_at=now + policy.keep,
    )


def claimable(job: Job, now: datetime) -> bool:
    """Pending with its backoff over, or running on an expired lease."""
    if job.status is Status.PENDING:
        return job.not_before is None or job.not_before <= now
    return _abandoned(job, now)


def is_suspect(job: Job, now: datetime) -> bool:
    """Whether its lease expired: the process died or hung, because of this job or of another one in it."""
    return _abandoned(job, now)


def failures(job: Job, now: datetime) -> int:
    """Attempts in a row without progress, not counting one that another job in the process may have ended."""
    return max(0, job.stalled - _lost_in_company(job, now))


def claim(job: Job, holder: str, fingerprint: str, now: datetime, policy: Policy) -> Job:
    """Start an attempt under a new fence: writes under an older fence are refused from now on."""
    if not claimable(job, now):
        raise StaleWrite(f"job {job.id} is {job.status} and can't be claimed now")
    afresh = job.fingerprint not in (None, fingerprint)
    return _next_revision(
        job,
        status=Status.RUNNING,
        fence=job.fence + 1,
        holder=holder,
        fingerprint=fingerprint,
        attempts=job.attempts + 1 - _lost_in_company(job, now),
        stalled=failures(job, now) + 1,
        alone=is_suspect(job, now),
        rung_in_vain=0,
        restarts=job.restarts + afresh,
        progress=Progress() if afresh else job.progress,
        not_before=None,
        claimed_at=now,
        started_at=job.started_at or now,
        ran=_ran(job, now),
        lease_until=now + policy.lease,
        due_at=now + policy.lease,
    )


def run_until(job: Job, policy: Policy) -> datetime:
    """When the attempt must end, by the job's total running time and its maximum age."""
    return min(job.end_by, (job.claimed_at or job.end_by) + policy.budget.runtime - job.ran)


def renew(job: Job, now: datetime, policy: Policy) -> Job:
    _require_running(job)
    return _next_revision(job, lease_until=now + policy.lease, due_at=now + policy.lease)


def progress(job: Job) -> Job:
    """A task has begun. The lease stands: only its row is written, not the index of what is due."""
    _require_running(job)
    return _next_revision(job)


def paid(job: Job, receipt: Receipt, now: datetime, policy: Policy) -> Job:
    """The journal has grown: store the new receipt and renew the lease."""
    return _with(renew(job, now, policy), receipt=receipt, stalled=0, outages=0, strikes=0, error=None)


def relay(job: Job, now: datetime, policy: Policy, *, tried: bool = True) -> Job:
    """Return the job to pending, for the next worker to resume. It counts as an attempt only if it made no progress
    although it had time for a call.
    """
    return _with(
        _release(job, now, now, policy),
        relays=job.relays + 1,
        attempts=job.attempts - (job.stalled == 0 or not tried),
        stalled=max(0, job.stalled - (not tried)),
    )


def strike(job: Job) -> Job:
    """Count a crew that did not stop; saved together with the relay or failure that follows."""
    return _with(job, strikes=job.strikes + 1)


def back_off(job: Job, error: Failure, now: datetime, until: datetime, policy: Policy) -> Job:
    """Return the job to pending after a transient error, not to be claimed before `until`. An outage is not the job's
    fault: such an attempt does not count towards the maximum.
    """
    released = _with(_release(job, now, until, policy), not_before=until, error=error)
    return _with(released, outages=job.outages + 1, stalled=max(0, job.stalled - 1)) if error.outage else released


def may_back_off(job: Job, error: Failure, until: datetime, policy: Policy) -> bool:
    """Whether the error is transient and both time and attempts are left."""
    return error.retryable and until < job.end_by and (error.outage or job.stalled < policy.max_attempts)


def answer_by(job: Job, timeout: timedelta | None, now: datetime, policy: Policy) -> datetime:
    """When a question that is asked now expires: while the row is there, and early enough for the job to end."""
    within = policy.answer_within if timeout is None else max(timedelta(), timeout)
    return now + min(within, job.expires_at - policy.max_age - now)


def wait(job: Job, question: str, now: datetime, until: datetime, policy: Policy) -> Job:
    """Release the job to wait for an answer. It goes on with the same attempt once it has one."""
    return _with(
        _release(job, now, now, policy),
        status=Status.WAITING,
        question=question,
        asked_at=now,
        due_at=until,
        attempts=job.attempts - 1,
        stalled=0,
        outages=0,
        strikes=0,
        error=None,
    )


def resume(job: Job, now: datetime, policy: Policy) -> Job:
    """Return a waiting job to pending, because it was answered or its question expired. It may end as much later."""
    if job.status is not Status.WAITING:
        raise StaleWrite(f"job {job.id} is {job.status}, not waiting")
    waited = max(timedelta(), now - (job.asked_at or now))
    return _next_revision(
        job, status=Status.PENDING, asked_at=None, due_at=now + policy.ring_again, end_by=job.end_by + waited
    )


def postpone(job: Job, now: datetime, policy: Policy) -> Job:
    """The sweeper rings: set when to look again. The pause doubles for a pending job that nobody claims, so that a
    backlog is not flooded with bells.
    """
    if job.status.finished:
        raise StaleWrite(f"job {job.id} is already {job.status}")
    pause = policy.ring_again
    if job.status is Status.PENDING:
        pause = min(pause * 2.0 ** min(job.rung_in_vain, 30), policy.longest_backoff)
    return _next_revision(job, due_at=now + pause, rung_in_vain=job.rung_in_vain + 1)


def complete(job: Job, now: datetime) -> Job:
    _require_running(job)
    return _with(_finish(job, Status.COMPLETED, now), error=None)


def fail(job: Job, error: Failure, now: datetime, blamed: Call | None = None) -> Job:
    _require_running(job)
    return _with(_finish(job, Status.FAILED, now), error=error, blamed=blamed and blamed.key)


def reason_to_give_up(job: Job, now: datetime, policy: Policy) -> CrewrelayError | None:
    """The error to fail a job with that nobody holds; None if it may go on."""
    if job.status is not Status.PENDING and not _abandoned(job, now):
        return None
    last = f"; the last error was {job.error.type}: {job.error.message}" if job.error else "."
    if now >= job.end_by:
        return Overdue(f"The job did not end by {_at(job.end_by)}, after {job.attempts} attempts{last}")
    if (ran := _ran(job, now)) >= policy.budget.runtime:
        return Overdue(f"The job ran for {ran.total_seconds():,.0f} s, in {job.attempts} attempts{last}")
    if (failed := failures(job, now)) >= policy.max_attempts:
        return AttemptsExhausted(
            f"{failed} attempts in a row made no progress. "
            "One call may take longer than a run may last, or the job may crash its process."
        )
    return None


def give_up(job: Job, error: Failure, now: datetime) -> Job:
    """Fail a job that nobody holds, under a new fence: a late write by its last holder is refused."""
    if job.status is not Status.PENDING and not _abandoned(job, now):
        raise StaleWrite(f"job {job.id} is {job.status} and can't be given up now")
    return _with(_finish(job, Status.FAILED, now), fence=job.fence + 1, error=error)


def fail_unread(job: Job, error: Failure, now: datetime) -> Job:
    """Fail a job whose input can't be read, whoever holds it."""
    if job.status.finished:
        raise StaleWrite(f"job {job.id} is already {job.status}")
    return _with(_finish(job, Status.FAILED, now), fence=job.fence + 1, error=error)


def cancel(job: Job, now: datetime) -> Job:
    if job.status.finished:
        raise StaleWrite(f"job {job.id} is already {job.status}")
    return _finish(job, Status.CANCELLED, now)


def too_old(job: Job, now: datetime, policy: Policy) -> bool:
    """Whether its row could expire before a retry ends."""
    return now + policy.max_age > job.expires_at


def retry(job: Job, now: datetime, policy: Policy) -> Job:
    """Return a failed job to pending, to resume from where its journal ends; times and attempts start from zero.

    The model reply on which the crew failed is discarded, as it would fail it again: the model is asked once more.
    """
    if job.status is not Status.FAILED or too_old(job, now, policy):
        raise StaleWrite(f"job {job.id} is {job.status}, not failed")
    return _next_revision(
        job,
        status=Status.PENDING,
        stalled=0,
        outages=0,
        strikes=0,
        not_before=None,
        due_at=now + policy.ring_again,
        end_by=now + policy.max_age,
        ran=timedelta(),
        started_at=None,
        finished_at=None,
        error=None,
        blamed=None,
        retried_after=job.fence,
        question=None,
        discarded=(*job.discarded, *filter(None, [job.blamed]))[-_MOST_DISCARDED:],
    )


def _abandoned(job: Job, now: datetime) -> bool:
    return job.status is Status.RUNNING and job.lease_until is not None and job.lease_until <= now


def _lost_in_company(job: Job, now: datetime) -> bool:
    """Whether its attempt was lost while other jobs shared the process, any of which may be the cause."""
    return _abandoned(job, now) and not job.alone


def _ran(job: Job, now: datetime) -> timedelta:
    """Running time of all attempts, including the current one; an abandoned one counts until its lease expired."""
    if job.status is not Status.RUNNING or job.claimed_at is None:
        return job.ran
    return job.ran + max(timedelta(), min(now, job.lease_until or now) - job.claimed_at)


def _release(job: Job, now: datetime, due_from: datetime, policy: Policy) -> Job:
    _require_running(job)
    return _next_revision(
        job,
        status=Status.PENDING,
        holder=None,
        lease_until=None,
        claimed_at=None,
        ran=_ran(job, now),
        due_at=due_from + policy.ring_again,
    )


def _finish(job: Job, status: Status, now: datetime) -> Job:
    return _next_revision(
        job,
        status=status,
        finished_at=now,
        holder=None,
        lease_until=None,
        claimed_at=None,
        ran=_ran(job, now),
        not_before=None,
        asked_at=None,
        due_at=None,
    )


def _next_revision(job: Job, **changes: Any) -> Job:
    return _with(job, revision=job.revision + 1, **changes)


def _with(job: Job, **changes: Any) -> Job:
    return job.model_copy(update=changes)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _require_running(job: Job) -> None:
    if job.status is not Status.RUNNING:
        raise StaleWrite(f"job {job.id} is {job.status}, not running")
