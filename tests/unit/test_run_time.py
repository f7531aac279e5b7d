"""Until when an attempt at a job may make calls: the job's end, its lease, its worker's time."""

from datetime import timedelta

import pytest

from crewrelay.jobs.errors import Overdue, StaleWrite
from crewrelay.jobs.ports import RelayDue
from crewrelay.jobs.records.journal import Kind, Reply
from tests.support.fixtures import HandSetClock
from tests.support.runs import POLICY, Attempts, ask, reason, refuse, replay, reply


@pytest.mark.parametrize(("seconds", "ends"), [(29, False), (30, True), (31, True)])
def test_no_call_is_made_after_the_jobs_end(attempts: Attempts, clock: HandSetClock, seconds: int, ends: bool) -> None:
    run = attempts.start(POLICY.model_copy(update={"max_age": timedelta(seconds=30)}), first_call_is_free=True)
    clock.pass_(seconds=seconds)
    if ends:
        refuse(run)
        assert isinstance(reason(run), Overdue)
        assert "2026-01-02 03:04:35 UTC" in str(reason(run))
    else:
        ask(run, "one")


@pytest.mark.parametrize("kind", Kind)
def test_no_call_is_made_on_a_lease_that_has_run_out(attempts: Attempts, clock: HandSetClock, kind: Kind) -> None:
    run = attempts.start(first_call_is_free=True)
    clock.pass_(seconds=59.9)
    ask(run, "one", kind=kind)  # which renews
    clock.pass_(seconds=60)
    refuse(run, kind=kind)
    assert isinstance(reason(run), StaleWrite)


@pytest.mark.parametrize(("left", "enough"), [(1.9, False), (2, True)])
def test_a_call_that_would_take_longer_than_is_left_is_relayed(attempts: Attempts, left: float, enough: bool) -> None:
    run = attempts.start(seconds=left)
    if enough:
        ask(run, "one")
    else:
        refuse(run)
        assert isinstance(reason(run), RelayDue)


@pytest.mark.parametrize("resumed", [False, True], ids=["in this attempt", "in an earlier one"])
@pytest.mark.parametrize(("kind", "enough"), [(Kind.MODEL, False), (Kind.TOOL, True), (Kind.RETRIEVAL, True)])
def test_a_call_is_expected_to_take_as_long_as_the_jobs_longest_of_its_kind(
    attempts: Attempts, clock: HandSetClock, kind: Kind, enough: bool, resumed: bool
) -> None:
    def pay() -> Reply:
        clock.pass_(seconds=10)
        return reply("after ten seconds")

    run = attempts.start(seconds=20)
    run.call(Kind.MODEL, {"asked": "a long one"}, pay)
    ask(run, "a short one")
    clock.pass_(seconds=0.1)
    if resumed:
        run = attempts.start(seconds=9.9)
    if enough:
        ask(run, "another", kind=kind)
    else:
        refuse(run, kind=kind)
        assert isinstance(reason(run), RelayDue)


def test_the_first_call_of_a_fresh_worker_is_free_of_the_deadline_and_the_second_is_not(attempts: Attempts) -> None:
    ask(attempts.start(), "earlier")
    run = attempts.start(seconds=-1, first_call_is_free=True)
    replay(run, "earlier")  # not a call
    ask(run, "one")
    refuse(run)
    assert isinstance(reason(run), RelayDue)


def test_a_job_always_gets_on_however_long_its_calls(attempts: Attempts, clock: HandSetClock) -> None:
    def pay() -> Reply:
        clock.pass_(seconds=50)
        return reply("done")

    for n in range(3):
        run = attempts.start(seconds=20, first_call_is_free=True)
        for earlier in range(n):
            replay(run, f"question {earlier}")
        assert run.call(Kind.MODEL, {"asked": f"question {n}"}, pay).body == "done"
        refuse(run)
