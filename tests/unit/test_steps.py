"""crewrelay.step: a side effect of a project's own code, once per job, and a plain call elsewhere."""

import datetime
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from crewai import LLM

import crewrelay
from crewrelay.crews.journal.ambient import NotInTheRun, journaling
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.ports import RelayDue
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.journal import Kind
from crewrelay.jobs.running.run import RunStopped
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.runs import TIMEOUT, Attempts, reason


@pytest.fixture(autouse=True)
def tuned() -> None:
    tune_crewai()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server() as server:
        yield server


class Counter:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self.calls.append((args, kwargs))
        return {"call": len(self.calls)}


def test_a_step_is_made_once_however_often_the_job_is_resumed(attempts: Attempts) -> None:
    """Steps are told apart by name, arguments, and how many equal ones were before."""
    function = Counter()
    for _ in range(3):
        with journaling(attempts.start()):
            told = [
                crewrelay.step("a", function),
                crewrelay.step("a", function, 1),
                crewrelay.step("a", function, x=[1]),
                crewrelay.step("b", function),
                crewrelay.step("a", function),
            ]
            assert told == [{"call": number} for number in range(1, 6)]
    assert len(function.calls) == 5
    assert {call.kind for call in attempts.journal} == {Kind.TOOL}


def test_outside_of_a_job_a_step_is_a_plain_call() -> None:
    there = object()
    assert crewrelay.step("any", lambda *args, **kwargs: (there, args, kwargs), 1, b={2}) == (there, (1,), {"b": {2}})
    with pytest.raises(KeyError):
        crewrelay.step("any", {}.__getitem__, 1)


def test_a_step_needs_nothing_heavy() -> None:
    code = (
        "import sys, crewrelay; print(crewrelay.step('a', max, 1, 2),"
        "[name for name in sys.modules if name.startswith(('crewrelay.', 'pydantic', 'crewai'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"


def test_what_a_step_raises_is_the_flows_affair_and_not_journaled(attempts: Attempts) -> None:
    """The flow may catch it, and the next attempt makes the step again."""
    run = attempts.start()
    with journaling(run):
        with pytest.raises(ZeroDivisionError):
            crewrelay.step("divide", lambda: 1 / 0)
        assert crewrelay.step("divide", lambda: 1) == 1
    assert not run.outcome.done()
    with journaling(attempts.start()):
        assert crewrelay.step("divide", lambda: 1 / 0) == 1


@pytest.mark.parametrize(
    "result",
    [datetime.datetime.now(), (1, 2), {1: 2}, object(), float("nan"), {"a": {1}}],
    ids=["datetime", "tuple", "number as a name", "object", "nan", "set"],
)
def test_a_result_that_json_does_not_keep_fails_the_job(attempts: Attempts, result: Any) -> None:
    run = attempts.start()
    with journaling(run), pytest.raises(TypeError, match=r"the result of the step now, of type .*; return what JSON"):
        crewrelay.step("now", lambda: result)
    assert isinstance(reason(run), TypeError)


def test_an_argument_that_json_does_not_keep_is_refused_before_the_call(attempts: Attempts) -> None:
    function = Counter()
    with journaling(attempts.start()), pytest.raises(TypeError, match="an argument of the step"):
        crewrelay.step("any", function, object())
    assert function.calls == []


def advised(server: OpenAIServer) -> str:
    model = LLM(model="openai/gpt-4o-mini", base_url=server.url, api_key="none")
    return f"{model.call('What now?')} {model.call('And then?')}"


def test_a_model_that_a_step_asks_is_not_paid_again_after_the_step_was_interrupted(
    attempts: Attempts, server: OpenAIServer
) -> None:
    class Killed(BaseException):
        pass

    def interrupted() -> str:
        LLM(model="openai/gpt-4o-mini", base_url=server.url, api_key="none").call("What now?")
        raise Killed

    with pytest.raises(Killed), journaling(attempts.start()):
        crewrelay.step("advice", interrupted)
    for _ in range(2):
        with journaling(attempts.start()):
            crewrelay.step("advice", lambda: advised(server))
    assert len(server.asked) == 2


def test_what_a_step_asked_is_not_missed_when_its_result_is_replayed(attempts: Attempts, server: OpenAIServer) -> None:
    for _ in range(2):
        run = attempts.start()
        with journaling(run):
            crewrelay.step("advice", lambda: advised(server))
    run.finish(Answer(text="done", usage=Usage(model="none")))
    assert run.receipt.diverged == 0
    assert len(server.asked) == 2


def test_a_run_that_ends_inside_of_a_step_journals_no_result_even_if_the_step_catches_it(
    attempts: Attempts, server: OpenAIServer
) -> None:
    def careless() -> str:
        try:
            return advised(server)
        except Exception:
            return "no advice"

    server.failing = 503
    run = attempts.start()
    with journaling(run), pytest.raises(openai.InternalServerError):
        crewrelay.step("advice", careless)
    assert isinstance(reason(run), openai.InternalServerError)
    assert attempts.journal == []


def test_a_relay_before_a_step_is_a_relay(attempts: Attempts) -> None:
    function, run = Counter(), attempts.start(seconds=1)
    with journaling(run), pytest.raises(RunStopped):
        crewrelay.step("advice", function)
    assert isinstance(reason(run), RelayDue)
    assert function.calls == []


def test_a_step_in_a_thread_that_does_not_know_its_run_is_refused(attempts: Attempts) -> None:
    with journaling(attempts.start()), ThreadPoolExecutor(1) as pool, pytest.raises(NotInTheRun, match="the step any"):
        pool.submit(crewrelay.step, "any", Counter()).result(TIMEOUT)
