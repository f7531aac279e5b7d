"""How many calls and tokens a job may spend over all its attempts, and who waits for whom at the end of them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from crewrelay.jobs.errors import BudgetExceeded
from crewrelay.jobs.ports import RelayDue
from crewrelay.jobs.records.journal import Kind
from crewrelay.jobs.records.policy import Budget
from crewrelay.jobs.running.execution import on_own_thread
from crewrelay.jobs.running.run import RunStopped
from crewrelay.jobs.running.spending import Spending
from tests.support.runs import POLICY, TIMEOUT, Attempts, CallInFlight, ask, reason, refuse, replay

TWO_CALLS = POLICY.model_copy(update={"budget": Budget(calls=2)})
HUNDRED_TOKENS = POLICY.model_copy(update={"budget": Budget(tokens=100)})


def test_a_job_makes_as_many_model_calls_as_it_may_and_no_more(attempts: Attempts) -> None:
    run = attempts.start(TWO_CALLS)
    ask(run, "one")
    ask(run, "two")
    ask(run, "a tool", kind=Kind.TOOL)  # only models are counted
    refuse(run)
    assert isinstance(reason(run), BudgetExceeded)
    assert str(reason(run)) == "The job has made 2 model calls; 2 are allowed."


def test_calls_of_earlier_attempts_count_and_replays_do_not(attempts: Attempts) -> None:
    ask(attempts.start(TWO_CALLS), "one")
    run = attempts.start(TWO_CALLS)
    replay(run, "one")
    ask(run, "two")
    refuse(run)
    assert [replay(attempts.start(TWO_CALLS), question) for question in ("one", "two")] == ["yes"] * 2


def test_calls_in_flight_are_calls_made(attempts: Attempts) -> None:
    run = attempts.start(POLICY.model_copy(update={"budget": Budget(calls=3)}))
    ask(run, "zero")
    calls = [CallInFlight(run, "one"), CallInFlight(run, "two")]
    refuse(run)
    assert [call.end() for call in calls] == ["at last"] * 2
    assert isinstance(reason(run), BudgetExceeded)
    assert attempts.job.receipt.calls_paid == 3


def test_many_threads_make_no_call_too_many(attempts: Attempts) -> None:
    run = attempts.start(POLICY.model_copy(update={"budget": Budget(calls=5)}))
    together = Barrier(16)

    def asked(number: int) -> bool:
        together.wait(TIMEOUT)
        try:
            return ask(run, f"question {number}") == "yes"
        except RunStopped:
            return False

    with ThreadPoolExecutor(16) as pool:
        answered = list(pool.map(asked, range(16)))
    assert sum(answered) == len(attempts.journal) <= 5
    assert isinstance(reason(run), BudgetExceeded)


@pytest.mark.parametrize(("tokens", "calls"), [(99, 2), (100, 1), (101, 1), (50, 2), (34, 3)])
def test_the_call_that_spends_the_last_tokens_is_the_last(attempts: Attempts, tokens: int, calls: int) -> None:
    run = attempts.start(HUNDRED_TOKENS)
    for n in range(calls):
        ask(run, f"question {n}", tokens=tokens)
    refuse(run)
    assert isinstance(reason(run), BudgetExceeded)
    assert "100 are allowed" in str(reason(run))


@pytest.mark.parametrize("first", [0, 1])
def test_tokens_are_overspent_by_one_call_however_many_are_made_at_once(attempts: Attempts, first: int) -> None:
    run, together = attempts.start(HUNDRED_TOKENS), Barrier(8)
    for number in range(first):
        ask(run, f"first {number}", tokens=40)

    def asked(number: int) -> bool:
        together.wait(TIMEOUT)
        try:
            return ask(run, f"question {number}", tokens=40) == "yes"
        except RunStopped:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(asked, range(8))) == 3 - first
    assert isinstance(reason(run), BudgetExceeded)
    assert attempts.job.receipt.tokens == 120


def test_calls_that_leave_tokens_enough_are_made_side_by_side(attempts: Attempts) -> None:
    run = attempts.start(HUNDRED_TOKENS)
    ask(run, "zero", tokens=20)
    calls = [CallInFlight(run, question, tokens=20) for question in ("one", "two", "three", "four")]
    assert [call.end() for call in calls] == ["at last"] * 4


def waits_for_tokens(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Set once a call has to wait for the end of another."""
    waits, is_open = Event(), Spending.is_open

    def told(spending: Spending, kind: Kind) -> bool:
        if is_open(spending, kind):
            waits.set()
            return True
        return False

    monkeypatch.setattr(Spending, "is_open", told)
    return waits


def test_a_call_that_waits_for_the_end_of_another_goes_on_then(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = attempts.start(HUNDRED_TOKENS)
    call = CallInFlight(run, "one")
    waits = waits_for_tokens(monkeypatch)
    waiting = on_own_thread(lambda: ask(run, "two"), name="two")
    assert waits.wait(TIMEOUT)
    call.end()
    assert waiting.result(TIMEOUT) == "yes"


def test_a_run_that_is_stopped_leaves_nobody_waiting_for_tokens(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = attempts.start(HUNDRED_TOKENS)
    call = CallInFlight(run, "one", tokens=100)
    waits = waits_for_tokens(monkeypatch)
    waiting = on_own_thread(lambda: refuse(run, "two"), name="two")
    assert waits.wait(TIMEOUT)
    run.stop(RelayDue("enough"))
    waiting.result(TIMEOUT)
    call.end()
    assert isinstance(reason(run), RelayDue)


def test_a_job_without_tokens_left_may_still_use_its_tools(attempts: Attempts) -> None:
    run = attempts.start(HUNDRED_TOKENS)
    ask(run, "one", tokens=100)
    assert ask(run, "a tool", kind=Kind.TOOL) == "yes"
