"""What each transition makes of every field of a row, of one in which none has its default."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from crewrelay.jobs.errors import DamagedJob, Overdue, StaleWrite, Unavailable
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Receipt
from tests.support.jobs import FAILURE, INPUT, NOW, OUTAGE, POLICY

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
UNHELD: dict[str, Any] = {"holder": None, "lease_until": None, "claimed_at": None}
RUNNING = Job(
    id="an-id",
    tenant="acme",
    correlation_id="a-request",
    crew="research",
    input_digest="a-digest",
    status=Status.RUNNING,
    revision=7,
    fence=9,
    holder="one",
    fingerprint="crew-1",
    attempts=5,
    stalled=2,
    outages=3,
    relays=4,
    strikes=1,
    alone=True,
    rung_in_vain=2,
    restarts=1,
    blamed="this reply",
    discarded=("that reply",),
    receipt=Receipt(calls_paid=1),
    created_at=NOW - HOUR,
    not_before=NOW - 60 * SECOND,
    due_at=NOW + 30 * SECOND,
    end_by=NOW + 5 * HOUR,
    ran=100 * SECOND,
    lease_until=NOW + 30 * SECOND,
    claimed_at=NOW - 30 * SECOND,
    started_at=NOW - 50 * 60 * SECOND,
    expires_at=NOW + 72 * HOUR,
    capped=False,
    error=FAILURE,
)


def changed(job: Job, **changes: Any) -> Job:
    return job.model_copy(update=changes)


def written(job: Job, **changes: Any) -> Job:
    return changed(job, revision=job.revision + 1, **changes)


PENDING = changed(RUNNING, status=Status.PENDING, **UNHELD)
LOST = changed(RUNNING, lease_until=NOW)
FAILED = changed(PENDING, status=Status.FAILED, finished_at=NOW, due_at=None)
RELEASED: dict[str, Any] = UNHELD | {
    "status": Status.PENDING,
    "ran": 130 * SECOND,
    "due_at": NOW + POLICY.ring_again,
}
FINISHED: dict[str, Any] = RELEASED | {"finished_at": NOW, "not_before": None, "due_at": None}
CLAIMED: dict[str, Any] = {
    "status": Status.RUNNING,
    "fence": 10,
    "holder": "two",
    "rung_in_vain": 0,
    "not_before": None,
    "claimed_at": NOW,
    "lease_until": NOW + POLICY.lease,
    "due_at": NOW + POLICY.lease,
}


def claim(job: Job, fingerprint: str = "crew-1") -> Job:
    return transitions.claim(job, "two", fingerprint, NOW, POLICY)


def test_a_claim() -> None:
    assert claim(PENDING) == written(PENDING, **CLAIMED, attempts=6, stalled=3, alone=False)
    assert claim(PENDING, "crew-2") == changed(claim(PENDING), fingerprint="crew-2", restarts=2)
    first = changed(PENDING, fingerprint=None, started_at=None)
    assert claim(first) == changed(claim(PENDING), started_at=NOW)


def test_a_claim_of_a_job_that_was_lost() -> None:
    assert claim(LOST) == written(LOST, **CLAIMED, attempts=6, stalled=3, ran=130 * SECOND)
    company = changed(LOST, alone=False)
    assert claim(company) == written(company, **CLAIMED, attempts=5, stalled=2, ran=130 * SECOND, alone=True)
    assert claim(changed(company, stalled=0)).stalled == 1


def test_a_renewal_and_a_receipt() -> None:
    renewed = written(RUNNING, lease_until=NOW + POLICY.lease, due_at=NOW + POLICY.lease)
    receipt = Receipt(calls_paid=2)
    assert transitions.renew(RUNNING, NOW, POLICY) == renewed
    assert transitions.paid(RUNNING, receipt, NOW, POLICY) == changed(
        renewed, receipt=receipt, stalled=0, outages=0, strikes=0, error=None
    )


@pytest.mark.parametrize(
    ("tried", "stalled", "attempts", "left"), [(True, 2, 5, 2), (True, 0, 4, 0), (False, 2, 4, 1), (False, 0, 4, 0)]
)
def test_a_relay(tried: bool, stalled: int, attempts: int, left: int) -> None:
    job = changed(RUNNING, stalled=stalled)
    assert transitions.relay(job, NOW, POLICY, tried=tried) == written(
        job, **RELEASED, relays=5, attempts=attempts, stalled=left
    )


def test_a_pause_after_an_error_and_after_an_outage() -> None:
    until = NOW + 7 * SECOND
    paused = written(RUNNING, **RELEASED | {"due_at": until + POLICY.ring_again}, not_before=until, error=FAILURE)
    assert transitions.back_off(RUNNING, FAILURE, NOW, until, POLICY) == paused
    assert transitions.back_off(RUNNING, OUTAGE, NOW, until, POLICY) == changed(
        paused, error=OUTAGE, outages=4, stalled=1
    )
    assert transitions.back_off(changed(RUNNING, stalled=0), OUTAGE, NOW, until, POLICY).stalled == 0
    worn = changed(RUNNING, stalled=POLICY.max_attempts)
    assert transitions.may_back_off(worn, OUTAGE, until, POLICY)
    assert not transitions.may_back_off(worn, FAILURE.model_copy(update={"retryable": True}), until, POLICY)


def test_a_bell_of_the_sweeper() -> None:
    assert transitions.postpone(RUNNING, NOW, POLICY) == written(
        RUNNING, due_at=NOW + POLICY.ring_again, rung_in_vain=3
    )
    pauses = [
        (transitions.postpone(changed(PENDING, rung_in_vain=times), NOW, POLICY).due_at or NOW) - NOW
        for times in (0, 1, 10_000)
    ]
    assert pauses == [POLICY.ring_again, POLICY.ring_again * 2, POLICY.longest_backoff]


def test_the_ends() -> None:
    ended = written(RUNNING, **FINISHED)
    assert transitions.complete(RUNNING, NOW) == changed(ended, status=Status.COMPLETED, error=None)
    assert transitions.fail(RUNNING, OUTAGE, NOW) == changed(ended, status=Status.FAILED, error=OUTAGE, blamed=None)
    assert transitions.cancel(RUNNING, NOW) == changed(ended, status=Status.CANCELLED)
    assert transitions.give_up(LOST, OUTAGE, NOW) == changed(
        written(LOST, **FINISHED), status=Status.FAILED, error=OUTAGE, fence=10
    )
    assert transitions.give_up(PENDING, OUTAGE, NOW) == changed(
        written(PENDING, **FINISHED), status=Status.FAILED, error=OUTAGE, fence=10, ran=100 * SECOND
    )


def test_a_retry() -> None:
    retried = transitions.retry(FAILED, NOW, POLICY)
    assert retried == written(
        FAILED,
        status=Status.PENDING,
        stalled=0,
        outages=0,
        strikes=0,
        not_before=None,
        due_at=NOW + POLICY.ring_again,
        end_by=NOW + POLICY.max_age,
        ran=timedelta(),
        started_at=None,
        finished_at=None,
        error=None,
        blamed=None,
        retried_after=FAILED.fence,
        discarded=("that reply", "this reply"),
    )
    just = changed(FAILED, expires_at=NOW + POLICY.max_age)
    assert not transitions.too_old(just, NOW, POLICY)
    assert transitions.too_old(just, NOW + SECOND, POLICY)
    with pytest.raises(StaleWrite):
        transitions.retry(just, NOW + SECOND, POLICY)


def test_a_new_job() -> None:
    job = transitions.submit("an-id", "acme", INPUT, NOW, POLICY, "a-request")
    assert job == Job(
        id="an-id",
        tenant="acme",
        correlation_id="a-request",
        crew="research",
        input_digest=INPUT.digest(),
        status=Status.PENDING,
        revision=1,
        fence=0,
        attempts=0,
        stalled=0,
        outages=0,
        relays=0,
        strikes=0,
        alone=False,
        rung_in_vain=0,
        restarts=0,
        created_at=NOW,
        due_at=NOW + POLICY.ring_again,
        end_by=NOW + POLICY.max_age,
        expires_at=NOW + POLICY.keep,
        capped=True,
    )
    assert not transitions.submit("an-id", "acme", INPUT, NOW, POLICY, capped=False).capped
    earlier = Job.model_validate(job.model_dump(exclude_defaults=True, exclude={"revision"}))  # by earlier code
    assert earlier == changed(job, revision=0)


def test_what_is_stored_has_the_names_that_earlier_rows_have() -> None:
    assert [status.value for status in Status] == ["pending", "running", "waiting", "completed", "failed", "cancelled"]
    accented = JobInput(crew="a", inputs={"topic": "é", "exact": True})
    canonical = '{"crew":"a","inputs":{"exact":true,"topic":"é"}}'
    assert accented.digest() == hashlib.sha256(canonical.encode()).hexdigest()


def test_a_failure_says_what_the_error_is() -> None:
    for error in (Unavailable("The table is silent."), DamagedJob("It is gone.")):
        failure = Failure.of(error)
        assert (failure.type, failure.retryable, failure.outage) == (error.code, error.retryable, error.outage)
        assert failure.message == f"{error} {error.remedy}"
    plain = Failure(type="a", message="b")
    assert (plain.retryable, plain.outage, plain.retry_after) == (False, False, None)
    assert OUTAGE.model_dump() == {"type": "RateLimitError", "message": "Slow down.", "retryable": True}


def test_why_a_job_is_given_up() -> None:
    late = RUNNING.end_by
    reason = transitions.reason_to_give_up(changed(PENDING, ran=timedelta()), late, POLICY)
    assert isinstance(reason, Overdue)
    assert str(reason) == (
        "The job did not end by 2026-01-02 08:04:05 UTC, after 5 attempts; "
        "the last error was TimeoutError: The model did not answer."
    )
    silent = transitions.reason_to_give_up(changed(PENDING, error=None), late, POLICY)
    assert str(silent).endswith("after 5 attempts.")
    held = changed(RUNNING, lease_until=late + SECOND)
    assert transitions.reason_to_give_up(held, late, POLICY) is None
    assert transitions.reason_to_give_up(changed(FAILED, status=Status.CANCELLED), late, POLICY) is None
    assert transitions.reason_to_give_up(LOST, NOW, POLICY) is None


def test_how_long_a_run_may_be() -> None:
    assert transitions.run_until(RUNNING, POLICY) == NOW - 30 * SECOND + POLICY.budget.runtime - 100 * SECOND
    assert transitions.run_until(changed(RUNNING, end_by=NOW), POLICY) == NOW
    unclaimed = changed(PENDING, ran=HOUR)
    assert transitions.run_until(unclaimed, POLICY) == min(
        PENDING.end_by, PENDING.end_by + POLICY.budget.runtime - HOUR
    )


def test_only_a_running_job_whose_lease_is_over_is_lost() -> None:
    assert transitions.is_suspect(LOST, NOW)
    assert not transitions.is_suspect(RUNNING, NOW)
    assert not transitions.is_suspect(changed(LOST, lease_until=None), NOW)
    assert not transitions.is_suspect(changed(LOST, status=Status.PENDING), NOW)
    assert transitions.failures(LOST, NOW) == 2
    assert transitions.failures(changed(LOST, alone=False), NOW) == 1
    assert transitions.failures(changed(LOST, alone=False, stalled=0), NOW) == 0
    unclaimed = changed(LOST, claimed_at=None)  # by earlier code
    assert claim(unclaimed).ran == 100 * SECOND
