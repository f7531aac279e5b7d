"""How one attempt at a job ends, and what it may not do any more."""

from concurrent.futures import Future

import pytest

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.ports import RelayDue
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.running.execution import on_own_thread
from crewrelay.jobs.running.run import RunStopped
from tests.support.fixtures import HandSetClock
from tests.support.runs import POLICY, TIMEOUT, Attempts, CallInFlight, Meanwhile, ask, reason, refuse, replay

ANSWER = Answer(text="an answer", usage=Usage(model="scripted/one"))


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
