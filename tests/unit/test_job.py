"""A job's life: each transition that may happen, and each that may not."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from crewrelay.jobs.errors import AttemptsExhausted, Overdue, StaleWrite
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Receipt, Reply
from crewrelay.jobs.records.policy import Budget, Policy
from tests.support.jobs import FAILURE, INPUT, NOW, OUTAGE, POLICY

LATER = NOW + timedelta(seconds=10)

Move = Callable[[Job, datetime], Job]

MOVES: dict[str, Move] = {
    "claim": lambda job, now: transitions.claim(job, "two", "crew-1", now, POLICY),
    "renew": lambda job, now: transitions.renew(job, now, POLICY),
    "relay": lambda job, now: transitions.relay(job, now, POLICY),
    "back off": lambda job, now: transitions.back_off(job, FAILURE, now, now, POLICY),
    "postpone": lambda job, now: transitions.postpone(job, now, POLICY),
    "give up": lambda job, now: transitions.give_up(job, FAILURE, now),
    "retry": lambda job, now: transitions.retry(job, now, POLICY),
    "complete": transitions.complete,
    "fail": lambda job, now: transitions.fail(job, FAILURE, now),
    "cancel": transitions.cancel,
}


def pending() -> Job:
    return transitions.submit("an-id", "acme", INPUT, NOW, POLICY)


def running() -> Job:
    return transitions.claim(pending(), "one", "crew-1", NOW, POLICY)


JOBS: dict[str, Callable[[], Job]] = {
    "pending": pending,
    "running": running,
    "running on a lease that ran out": lambda: running().model_copy(update={"lease_until": NOW}),
    "completed": lambda: transitions.complete(running(), NOW),
    "failed": lambda: transitions.fail(running(), FAILURE, NOW),
    "cancelled": lambda: transitions.cancel(pending(), NOW),
}
ALLOWED = {
    ("pending", "claim"): Status.RUNNING,
    ("pending", "postpone"): Status.PENDING,
    ("pending", "give up"): Status.FAILED,
    ("pending", "cancel"): Status.CANCELLED,
    ("running", "renew"): Status.RUNNING,
    ("running", "relay"): Status.PENDING,
    ("running", "back off"): Status.PENDING,
    ("running", "postpone"): Status.RUNNING,
    ("running", "complete"): Status.COMPLETED,
    ("running", "fail"): Status.FAILED,
    ("running", "cancel"): Status.CANCELLED,
    ("running on a lease that ran out", "claim"): Status.RUNNING,
    ("running on a lease that ran out", "renew"): Status.RUNNING,
    ("running on a lease that ran out", "relay"): Status.PENDING,
    ("running on a lease that ran out", "back off"): Status.PENDING,
    ("running on a lease that ran out", "postpone"): Status.RUNNING,
    ("running on a lease that ran out", "give up"): Status.FAILED,
    ("failed", "retry"): Status.PENDING,
    ("running on a lease that ran out", "complete"): Status.COMPLETED,
    ("running on a lease that ran out", "fail"): Status.FAILED,
    ("running on a lease that ran out", "cancel"): Status.CANCELLED,
}
FORBIDDEN = [(state, move) for state in JOBS for move in MOVES if (state, move) not in ALLOWED]


@pytest.mark.parametrize(("state", "move"), ALLOWED)
def test_what_may_happen(state: str, move: str) -> None:
    before = JOBS[state]()
    after = MOVES[move](before, LATER)
    assert after.status is ALLOWED[state, move]
    assert after.id == before.id
    assert after.expires_at == before.expires_at
    assert (after.due_at is None) == after.status.finished
    assert (after.lease_until is not None) == (after.status is Status.RUNNING)
    assert (after.holder is not None) == (after.status is Status.RUNNING)
    assert (after.finished_at is not None) == after.status.finished
    assert after.attempts == before.attempts + ((state, move) == ("pending", "claim"))
    assert after.fence == before.fence + (move in ("claim", "give up"))


@pytest.mark.parametrize(("state", "move"), FORBIDDEN)
def test_what_may_not_happen_is_a_stale_write(state: str, move: str) -> None:
    job = JOBS[state]()
    with pytest.raises(StaleWrite, match=f"an-id is .*{job.status}"):
        MOVES[move](job, LATER)


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_a_finished_job_is_final_for_ever(state: str) -> None:
    job = JOBS[state]()
    assert job.status.finished
    assert not transitions.claimable(job, NOW + timedelta(days=365))


def test_a_submission_owes_a_ring_and_keeps_its_input_for_the_policys_time() -> None:
    job = pending()
    assert (job.tenant, job.crew, job.input_digest) == ("acme", "research", INPUT.digest())
    assert (job.status, job.fence, job.attempts) == (Status.PENDING, 0, 0)
    assert (job.created_at, job.not_before, job.due_at) == (NOW, None, NOW + timedelta(seconds=90))
    assert job.expires_at == NOW + timedelta(days=3)
    assert (job.holder, job.lease_until, job.started_at, job.finished_at, job.error) == (None,) * 5


def test_a_claim_takes_the_next_fence_and_counts_an_attempt() -> None:
    job = transitions.claim(pending(), "one", "crew-1", LATER, POLICY)
    assert (job.fence, job.attempts, job.holder) == (1, 1, "one")
    assert job.lease_until == job.due_at == LATER + timedelta(seconds=60)
    assert job.started_at == LATER


def test_a_later_claim_keeps_the_first_start() -> None:
    released = transitions.relay(running(), LATER, POLICY)
    again = transitions.claim(released, "two", "crew-1", LATER, POLICY)
    assert (again.fence, again.attempts, again.started_at) == (2, 2, NOW)


def test_a_lost_job_is_rung_for_as_soon_each_time() -> None:
    """Whoever answers may be lost as well while the job waits for its turn; and few are lost at once."""
    job = running().model_copy(update={"lease_until": NOW})
    for _ in range(3):
        job = transitions.postpone(job, LATER, POLICY)
        assert job.due_at == LATER + POLICY.ring_again


def lost(job: Job) -> tuple[Job, datetime]:
    """Its process dies; and the moment from which it may be claimed again."""
    assert job.lease_until
    return job, job.lease_until


def claimed(job: Job, now: datetime) -> Job:
    return transitions.claim(job, "two", "crew-1", now, POLICY)


def test_an_attempt_that_was_lost_in_company_is_given_back_and_one_that_was_lost_alone_is_not() -> None:
    job = running()
    assert (job.alone, job.attempts, job.stalled) == (False, 1, 1)
    for deaths_alone in range(3):
        job, now = lost(job)
        assert transitions.is_suspect(job, now)
        assert transitions.failures(job, now) == deaths_alone
        job = claimed(job, now)
        assert (job.alone, job.attempts, job.stalled) == (True, 1 + deaths_alone, 1 + deaths_alone)


def test_a_job_that_got_further_before_it_was_lost_in_company_has_failed_at_nothing() -> None:
    job, now = lost(transitions.paid(running(), Receipt(), NOW, POLICY))
    assert transitions.failures(job, now) == 0
    again = claimed(job, now)
    assert (again.attempts, again.stalled) == (1, 1)
    assert transitions.relay(again, now, POLICY).stalled == 1  # it got no further: that was an attempt


def test_a_job_that_gives_itself_back_is_no_suspect_any_more() -> None:
    job, now = lost(running())
    job = transitions.relay(claimed(job, now), now, POLICY)
    assert not transitions.is_suspect(job, now)
    assert not claimed(job, now).alone


@pytest.mark.parametrize("alone", [False, True])
def test_a_job_is_given_up_for_the_attempts_that_it_lost_alone(alone: bool) -> None:
    policy = POLICY.model_copy(update={"max_attempts": 1})
    job, now = lost(running().model_copy(update={"alone": alone}))
    reason = transitions.reason_to_give_up(job, now, policy)
    assert isinstance(reason, AttemptsExhausted) is alone


@pytest.mark.parametrize(("seconds", "may"), [(-1, False), (0, True), (1, True)])
def test_a_pending_job_is_not_claimed_before_its_time(seconds: int, may: bool) -> None:
    job = pending().model_copy(update={"not_before": LATER})
    now = LATER + timedelta(seconds=seconds)
    assert transitions.claimable(job, now) is may
    if not may:
        with pytest.raises(StaleWrite):
            transitions.claim(job, "one", "crew-1", now, POLICY)


@pytest.mark.parametrize(("seconds", "may"), [(59, False), (60, True), (61, True)])
def test_a_lease_is_taken_over_only_after_it_ran_out(seconds: int, may: bool) -> None:
    job, now = running(), NOW + timedelta(seconds=seconds)
    assert transitions.claimable(job, now) is may
    if may:
        taken = transitions.claim(job, "two", "crew-1", now, POLICY)
        assert (taken.fence, taken.holder) == (2, "two")


def test_a_renewal_moves_the_lease_and_the_due_time_and_nothing_else() -> None:
    job = running()
    until = LATER + timedelta(seconds=60)
    renewed = {"revision": job.revision + 1, "lease_until": until, "due_at": until}
    assert transitions.renew(job, LATER, POLICY) == job.model_copy(update=renewed)


def test_a_released_job_may_be_claimed_at_once_and_owes_a_ring() -> None:
    job = transitions.relay(running(), LATER, POLICY)
    assert transitions.claimable(job, LATER)
    assert job.due_at == LATER + timedelta(seconds=90)


def test_a_failure_is_kept_with_the_job() -> None:
    job = transitions.fail(running(), FAILURE, LATER)
    assert (job.error, job.finished_at) == (FAILURE, LATER)


def test_the_last_four_replies_that_were_blamed_are_not_told_again() -> None:
    job = running()
    for nth in range(6):
        blamed = Call(digest="d", nth=nth, kind=Kind.MODEL, seconds=1, reply=Reply(body="nonsense"))
        job = transitions.retry(transitions.fail(job, FAILURE, NOW, blamed), NOW, POLICY)
        job = transitions.claim(job, "one", "crew-1", NOW, POLICY)
    job = transitions.retry(transitions.fail(job, FAILURE, NOW), NOW, POLICY)  # no reply is blamed
    assert job.discarded == ("d#2", "d#3", "d#4", "d#5")


def test_a_transition_leaves_its_argument_alone() -> None:
    job = pending()
    copy = job.model_copy(deep=True)
    transitions.claim(job, "one", "crew-1", NOW, POLICY)
    assert job == copy


def test_the_lease_outlives_two_renewals_that_fail() -> None:
    assert POLICY.renewal * 3 <= POLICY.lease


def test_equal_inputs_have_equal_digests_whatever_the_order() -> None:
    same = JobInput(crew="research", inputs={"language": "en", "topic": "neural networks"})
    assert same.digest() == INPUT.digest()
    canonical = b'{"crew":"research","inputs":{"language":"en","topic":"neural networks"}}'
    assert INPUT.digest() == hashlib.sha256(canonical).hexdigest()  # rows are older than releases


@pytest.mark.parametrize(
    "other",
    [
        JobInput(crew="other", inputs=INPUT.inputs),
        JobInput(crew="research", inputs={**INPUT.inputs, "topic": "neural network"}),
        JobInput(crew="research", inputs={**INPUT.inputs, "topic": "neural networks "}),
        JobInput(crew="research", inputs={**INPUT.inputs, "language": "de"}),
        JobInput(crew="research", inputs={**INPUT.inputs, "more": ""}),
        JobInput(crew="research", inputs={"topic": "en", "language": "neural networks"}),
        JobInput(crew="research", inputs={}),
        JobInput(crew="research", inputs=INPUT.inputs, collection="acme"),
    ],
    ids=repr,
)
def test_different_inputs_have_different_digests(other: JobInput) -> None:
    assert other.digest() != INPUT.digest()


def test_each_ring_in_vain_is_followed_by_twice_the_patience_until_the_next_claim() -> None:
    job, pauses = pending(), []
    for _ in range(5):
        job = transitions.postpone(job, LATER, POLICY)
        assert job.due_at
        pauses.append((job.due_at - LATER).total_seconds())
    assert pauses == [90, 180, 300, 300, 300]
    claimed = transitions.claim(job, "one", "crew-1", LATER, POLICY)
    again = transitions.postpone(claimed, LATER, POLICY)
    assert again.due_at == LATER + timedelta(seconds=90)


# ---- what is counted, and what is not


@pytest.mark.parametrize(("state", "move"), ALLOWED)
def test_every_write_is_a_revision_of_its_own(state: str, move: str) -> None:
    before = JOBS[state]()
    assert MOVES[move](before, LATER).revision == before.revision + 1


def test_only_the_time_in_which_a_job_runs_counts_as_running() -> None:
    policy = Policy(budget=Budget(runtime=timedelta(minutes=10)))
    job, now = pending(), NOW
    for ran in (timedelta(), timedelta(seconds=30)):
        now += timedelta(hours=3)  # in the queue
        job = transitions.claim(job, "one", "crew-1", now, policy)
        assert job.ran == ran
        assert transitions.run_until(job, policy) == now + timedelta(minutes=10) - ran
        now += timedelta(seconds=30)
        job = transitions.back_off(job, FAILURE, now, now, policy)
    assert job.ran == timedelta(minutes=1)
    assert transitions.reason_to_give_up(job, now + timedelta(hours=3), policy) is None


def test_a_job_that_has_run_for_as_long_as_it_may_is_given_up() -> None:
    policy = Policy(budget=Budget(runtime=timedelta(minutes=10)))
    job = transitions.claim(pending(), "one", "crew-1", NOW, policy)
    renewed = transitions.renew(job, NOW + timedelta(minutes=9, seconds=30), policy)
    given_back = transitions.relay(renewed, NOW + timedelta(minutes=10), policy)
    reason = transitions.reason_to_give_up(given_back, NOW + timedelta(minutes=10), policy)
    assert isinstance(reason, Overdue)
    assert "ran for 600 s" in str(reason)


def test_an_attempt_that_was_abandoned_ran_until_its_lease_ended() -> None:
    job = running()
    again = transitions.claim(job, "two", "crew-1", NOW + timedelta(hours=5), POLICY)
    assert again.ran == POLICY.lease


def test_an_attempt_never_runs_past_the_jobs_end() -> None:
    policy = Policy(max_age=timedelta(minutes=5))
    job = transitions.claim(transitions.submit("an-id", "acme", INPUT, NOW, policy), "one", "crew-1", LATER, policy)
    assert transitions.run_until(job, policy) == job.end_by == NOW + timedelta(minutes=5)


def test_an_outage_counts_as_no_attempt_but_the_pauses_grow() -> None:
    job = pending()
    for number in range(20):
        job = transitions.claim(job, "one", "crew-1", NOW, POLICY)
        assert (job.stalled, job.outages) == (1, number)
        assert transitions.may_back_off(job, OUTAGE, LATER, POLICY)
        job = transitions.back_off(job, OUTAGE, NOW, NOW, POLICY)
    assert (job.attempts, job.stalled, job.outages) == (20, 0, 20)
    assert transitions.reason_to_give_up(job, NOW, POLICY) is None


def test_an_outage_ends_with_the_next_reply_and_so_does_the_error() -> None:
    job = transitions.back_off(running(), OUTAGE, NOW, NOW, POLICY)
    assert job.error == OUTAGE
    again = transitions.claim(job, "one", "crew-1", NOW, POLICY)
    assert again.error == OUTAGE
    paid = transitions.paid(again, Receipt(calls_paid=1), NOW, POLICY)
    assert (paid.stalled, paid.outages, paid.error) == (0, 0, None)


def test_a_job_that_completed_has_no_error() -> None:
    job = transitions.claim(transitions.back_off(running(), FAILURE, NOW, NOW, POLICY), "one", "crew-1", NOW, POLICY)
    assert transitions.complete(job, LATER).error is None


@pytest.mark.parametrize("outage", [True, False])
def test_nobody_backs_off_past_the_end_or_from_an_error_that_lasts(outage: bool) -> None:
    job, error = running(), OUTAGE.model_copy(update={"outage": outage})
    assert transitions.may_back_off(job, error, job.end_by - timedelta(seconds=1), POLICY)
    assert not transitions.may_back_off(job, error, job.end_by, POLICY)
    assert not transitions.may_back_off(job, error.model_copy(update={"retryable": False}), LATER, POLICY)


@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED])
def test_a_start_that_earlier_code_left_in_the_row_is_no_time_that_the_job_ran(status: Status) -> None:
    left = pending().model_copy(update={"status": status, "claimed_at": NOW})
    later = NOW + timedelta(hours=5)
    job = transitions.retry(left, later, POLICY) if status is Status.FAILED else left
    assert transitions.reason_to_give_up(job, later, POLICY) is None
    assert transitions.claim(job, "one", "crew-1", later, POLICY).ran == timedelta()
