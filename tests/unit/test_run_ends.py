"""What one attempt at a job may not do any more, and how it ends."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event

import pytest

from crewrelay.jobs import job as transitions
from crewrelay.jobs.answer import Answer, Usage
from crewrelay.jobs.errors import BudgetExceeded, Overdue, StaleWrite
from crewrelay.jobs.execution import on_own_thread
from crewrelay.jobs.journal import Kind, Reply
from crewrelay.jobs.policy import Budget
from crewrelay.jobs.ports import RelayDue
from crewrelay.jobs.run import Run, RunStopped
from crewrelay.jobs.spending import Spending
from tests.conftest import HandSetClock
from tests.support.runs import POLICY, Attempts, Meanwhile, ask, reason, replay, reply

ANSWER = Answer(text="an answer", usage=Usage(model="scripted/one"))
TIMEOUT = 10  # seconds until a test that hangs gives up
TWO_CALLS = POLICY.model_copy(update={"budget": Budget(calls=2)})
HUNDRED_TOKENS = POLICY.model_copy(update={"budget": Budget(tokens=100)})


@pytest.fixture
def attempts(clock: HandSetClock) -> Attempts:
    return Attempts(clock)


class CallInFlight:
    """A call on a thread of its own that is being paid for until it may end."""

    def __init__(self, run: Run, question: str, kind: Kind = Kind.MODEL, tokens: int = 10) -> None:
        paying, self._may_end = Event(), Event()

        def pay() -> Reply:
            paying.set()
            assert self._may_end.wait(TIMEOUT)
            return reply("at last", tokens)

        self._reply = on_own_thread(lambda: run.call(kind, {"asked": question}, pay), name=question)
        assert paying.wait(TIMEOUT)

    def end(self) -> str:
        self._may_end.set()
        return self._reply.result(TIMEOUT).body


def refuse(run: Run, question: str = "one more", kind: Kind = Kind.MODEL) -> None:
    """The run stops rather than to pay for this."""
    with pytest.raises(RunStopped):
        replay(run, question, kind)


# ---- budgets


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


# ---- what a retry asks for anew


def blamed(run: Run) -> str | None:
    return run.blamed.reply.body if run.blamed else None


def test_the_last_reply_is_blamed_for_a_failure_after_it(attempts: Attempts) -> None:
    run = attempts.start()
    assert blamed(run) is None
    ask(run, "one", "1")
    ask(run, "two", "2")
    ask(run, "three", "3")
    ask(run, "a tool", kind=Kind.TOOL)
    assert blamed(run) == "3"


def test_no_reply_is_blamed_for_a_call_that_got_none(attempts: Attempts) -> None:
    run = attempts.start()
    ask(run, "one", "1")

    def pay() -> Reply:
        raise PermissionError("no such key")

    with pytest.raises(PermissionError):
        run.call(Kind.MODEL, {"asked": "two"}, pay)
    assert blamed(run) is None
    ask(run, "two", "2")
    assert blamed(run) == "2"


def test_a_retried_job_asks_for_the_blamed_reply_anew_and_for_no_other(attempts: Attempts) -> None:
    run = attempts.start()
    ask(run, "one", "1")
    ask(run, "two", "nonsense")
    for said in ("more nonsense", "sense"):
        attempts.fail(run)
        run = attempts.retry()
        assert [told.body for told in run.journaled(Kind.MODEL)] == ["1"]
        replay(run, "one")
        assert ask(run, "two", said) == said
    resumed = attempts.start()  # and whoever goes on from there is told the same
    assert [replay(resumed, question) for question in ("one", "two")] == ["1", "sense"]
    assert attempts.job.receipt.calls_paid == 4


def test_a_job_without_tokens_left_may_still_use_its_tools(attempts: Attempts) -> None:
    run = attempts.start(HUNDRED_TOKENS)
    ask(run, "one", tokens=100)
    assert ask(run, "a tool", kind=Kind.TOOL) == "yes"


# ---- time


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


# ---- the end


def test_the_crews_answer_is_the_outcome(attempts: Attempts) -> None:
    run = attempts.start()
    run.finish(ANSWER)
    assert run.outcome.result(0) == ANSWER


def test_a_stop_after_the_answer_changes_nothing(attempts: Attempts) -> None:
    run = attempts.start()
    run.finish(ANSWER)
    run.stop(RelayDue("too late"))
    assert run.outcome.result(0) == ANSWER
    with pytest.raises(RunStopped):
        ask(run, "one")


def test_an_answer_after_a_stop_is_ignored(attempts: Attempts) -> None:
    run = attempts.start()
    call = CallInFlight(run, "one")
    run.stop(RelayDue("first"))
    run.finish(ANSWER)
    call.end()
    run.finish(ANSWER)
    assert isinstance(reason(run), RelayDue)


def test_the_first_stop_decides(attempts: Attempts) -> None:
    run = attempts.start()
    call = CallInFlight(run, "one")
    first, second = TimeoutError("first"), ValueError("second")
    run.stop(first)
    run.stop(second)
    call.end()
    run.stop(second)
    assert reason(run) is first


def test_a_stopped_run_is_over_once_nothing_is_in_flight_any_more(attempts: Attempts) -> None:
    run = attempts.start()
    calls = [CallInFlight(run, "one"), CallInFlight(run, "a tool", Kind.TOOL)]
    run.stop(RelayDue("stopped"))
    for call in calls:
        assert not run.outcome.done()
        call.end()
    assert isinstance(reason(run), RelayDue)
    assert len(attempts.journal) == 2  # what was under way is kept
    assert attempts.job.receipt.calls_paid == 1


def test_a_stopped_run_pays_for_nothing_but_is_still_told_what_was_paid(attempts: Attempts) -> None:
    ask(attempts.start(), "one")
    run = attempts.start()
    run.stop(RelayDue("stopped"))
    assert replay(run, "one") == "yes"
    refuse(run)


def test_a_call_that_fails_in_a_stopped_run_ends_it_too(attempts: Attempts) -> None:
    run = attempts.start()

    def pay() -> Reply:
        run.stop(RelayDue("stopped"))
        raise TimeoutError("and the model does not answer")

    with pytest.raises(TimeoutError):
        run.call(Kind.MODEL, {"asked": "one"}, pay)
    assert isinstance(reason(run), RelayDue)


def test_of_an_answer_and_a_stop_at_once_one_counts(attempts: Attempts) -> None:
    run = attempts.start()
    rival = Meanwhile(lambda: run.stop(RelayDue("too late")))

    class Slow(Future[Answer]):
        def set_result(self, result: Answer) -> None:
            rival()
            super().set_result(result)

    run.outcome = Slow()
    run.finish(ANSWER)
    rival.join()
    assert run.outcome.result(0) == ANSWER


def test_no_call_is_made_for_a_job_that_was_given_back(attempts: Attempts, clock: HandSetClock) -> None:
    run = attempts.start()
    run._lease.advance(lambda job: transitions.relay(job, clock(), POLICY))
    refuse(run)
    assert isinstance(reason(run), StaleWrite)


def test_a_run_has_tried_once_it_made_a_call_or_was_given_one(attempts: Attempts) -> None:
    run = attempts.start(seconds=1)
    refuse(run)
    assert not run.tried
    run = attempts.start()
    assert not run.tried
    ask(run, "one")
    assert run.tried
    assert attempts.start(first_call_is_free=True).tried


def test_an_error_on_a_thread_of_its_own_is_told() -> None:
    with pytest.raises(ZeroDivisionError):
        on_own_thread(lambda: 1 // 0, name="one").result(TIMEOUT)
