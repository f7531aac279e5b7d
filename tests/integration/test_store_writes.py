"""What every job store promises of a write: whole, or refused once somebody else has written."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job
from crewrelay.jobs.records.journal import Receipt
from crewrelay.jobs.running.lease import Lease
from tests.support.fixtures import HandSetClock
from tests.support.stored_jobs import ANSWER, FAILURE, INPUT, POLICY, claimed, completed, loaded, submitted


@pytest.mark.parametrize(
    ("first_claim_it", "move"),
    [
        pytest.param(False, lambda s, j, c: transitions.claim(j, "two", "crew-1", c(), POLICY), id="claim"),
        pytest.param(False, lambda s, j, c: transitions.give_up(j, FAILURE, c()), id="give-up-pending"),
        pytest.param(False, lambda s, j, c: transitions.postpone(j, c(), POLICY), id="postpone-pending"),
        pytest.param(False, lambda s, j, c: transitions.cancel(j, c()), id="cancel-pending"),
        pytest.param(True, lambda s, j, c: transitions.renew(j, c(), POLICY), id="renew"),
        pytest.param(True, lambda s, j, c: transitions.relay(j, c(), POLICY), id="relay"),
        pytest.param(True, lambda s, j, c: transitions.back_off(j, FAILURE, c(), c(), POLICY), id="back-off"),
        pytest.param(True, lambda s, j, c: transitions.paid(j, Receipt(calls_paid=1), c(), POLICY), id="paid"),
        pytest.param(True, lambda s, j, c: transitions.postpone(j, c(), POLICY), id="postpone-running"),
        pytest.param(True, lambda s, j, c: transitions.fail(j, FAILURE, c()), id="fail-running"),
        pytest.param(True, lambda s, j, c: transitions.cancel(j, c()), id="cancel-running"),
        pytest.param(True, completed, id="complete"),
    ],
)
def test_each_transition_is_stored_whole(
    store: JobStore, clock: HandSetClock, first_claim_it: bool, move: Callable[[JobStore, Job, HandSetClock], Job]
) -> None:
    before = submitted(store, clock)
    if first_claim_it:
        before = claimed(store, before, clock)
    clock.pass_(seconds=7)
    after = move(store, before, clock)
    assert after != before
    store.save(before, after)
    assert loaded(store, after.id).job == after


def test_a_lease_that_ran_out_is_taken_over(store: JobStore, clock: HandSetClock) -> None:
    first = claimed(store, submitted(store, clock), clock)
    clock.pass_(seconds=61)
    second = claimed(store, first, clock, "two")
    assert loaded(store, first.id).job == second
    with pytest.raises(StaleWrite):
        store.save(first, transitions.renew(first, clock(), POLICY))
    assert loaded(store, first.id).job == second


def test_a_write_is_refused_once_the_status_moved(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    cancelled = transitions.cancel(running, clock())
    store.save(running, cancelled)
    clock.pass_(seconds=1)
    for late in (transitions.renew(running, clock(), POLICY), transitions.complete(running, clock())):
        with pytest.raises(StaleWrite):
            store.save(running, late)
    assert loaded(store, running.id).job == cancelled


def test_a_write_is_refused_once_the_fence_moved_even_if_the_status_is_back(
    store: JobStore, clock: HandSetClock
) -> None:
    pending = submitted(store, clock)
    first = claimed(store, pending, clock)
    released = transitions.relay(first, clock(), POLICY)
    store.save(first, released)
    with pytest.raises(StaleWrite):
        store.save(pending, transitions.claim(pending, "late", "crew-1", clock(), POLICY))
    second = claimed(store, released, clock, "two")
    with pytest.raises(StaleWrite):
        store.save(first, transitions.complete(first, clock()))
    assert loaded(store, pending.id).job == second


def test_a_claim_is_refused_when_the_lease_was_renewed_under_its_feet(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    clock.pass_(seconds=61)
    seen = loaded(store, running.id).job
    renewed = transitions.renew(running, clock(), POLICY)
    store.save(running, renewed)
    with pytest.raises(StaleWrite):
        store.save(seen, transitions.claim(seen, "two", "crew-1", clock(), POLICY))
    assert loaded(store, running.id).job == renewed


def test_a_write_to_a_job_that_is_not_there_is_refused(store: JobStore, clock: HandSetClock) -> None:
    job = transitions.submit(str(uuid.uuid4()), "acme", INPUT, clock(), POLICY)
    with pytest.raises(StaleWrite):
        store.save(job, transitions.cancel(job, clock()))
    assert store.load(job.id) is None


def test_a_holder_that_missed_the_reply_to_its_renewal_can_still_finish(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    lease = Lease(store, running, clock)
    clock.pass_(seconds=20)
    store.save(running, transitions.renew(running, clock(), POLICY))
    store.put_answer(running, ANSWER)
    finished = lease.advance(lambda job: transitions.complete(job, clock()))
    assert loaded(store, running.id).job == finished


def test_the_first_try_of_a_write_that_arrives_after_its_repeat_and_the_next_write_is_refused(
    store: JobStore, clock: HandSetClock
) -> None:
    running = claimed(store, submitted(store, clock), clock)
    first = transitions.paid(running, Receipt(calls_paid=1), clock(), POLICY)
    store.save(running, first)
    clock.pass_(seconds=50)
    second = transitions.paid(first, Receipt(calls_paid=2), clock(), POLICY)
    store.save(first, second)
    with pytest.raises(StaleWrite):
        store.save(running, first)
    assert loaded(store, running.id).job == second


def test_a_renewal_that_changes_nothing_is_accepted(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    renewed = transitions.renew(running, clock(), POLICY)
    store.save(running, renewed)
    assert loaded(store, running.id).job == renewed


def test_a_claim_race_has_one_winner(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    start = threading.Barrier(16, timeout=10)

    def race(holder: str) -> str | None:
        before = loaded(store, job.id).job
        start.wait()
        try:
            claimed(store, before, clock, holder)
        except StaleWrite:
            return None
        return holder

    with ThreadPoolExecutor(16) as pool:
        winners = [holder for holder in pool.map(race, [f"holder-{n}" for n in range(16)]) if holder]
    standing = loaded(store, job.id).job
    assert winners == [standing.holder]
    assert (standing.fence, standing.attempts) == (1, 1)


def test_the_repeat_of_a_write_whose_reply_was_lost_is_accepted(store: JobStore, clock: HandSetClock) -> None:
    pending = submitted(store, clock)
    running = transitions.claim(pending, "one", "crew-1", clock(), POLICY)
    for before, after in [
        (pending, running),
        (running, transitions.relay(running, clock(), POLICY)),
    ]:
        store.save(before, after)
        store.save(before, after)
        assert loaded(store, pending.id).job == after
    with pytest.raises(StaleWrite):  # that one's turn is over, even if it was its own
        store.save(pending, running)


def test_a_rivals_like_claim_is_no_repeat(store: JobStore, clock: HandSetClock) -> None:
    pending = submitted(store, clock)
    claimed(store, pending, clock, "one")
    with pytest.raises(StaleWrite):
        claimed(store, pending, clock, "two")
