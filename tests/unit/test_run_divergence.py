"""A resumed run that asks something else than the first: what was paid in vain is counted at the job's end."""

from typing import Any

import pytest

from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.journal import Kind
from crewrelay.jobs.running.run import Run
from tests.support.runs import Attempts, ask, replay, reply

ANSWER = Answer(text="done", usage=Usage(model="scripted/one"))


def diverged(run: Run) -> int:
    run.finish(ANSWER)
    assert run.outcome.result(0) == ANSWER
    return run.receipt.diverged


def use(run: Run, tool: str, within: dict[str, Any] | None = None, kind: Kind = Kind.TOOL) -> dict[str, Any]:
    """Its request, which calls that it makes are within."""
    request: dict[str, Any] = {"tool": tool} | ({"within": within} if within else {})
    run.call(kind, request, lambda: reply("used"))
    return request


def test_a_run_that_asks_the_same_has_not_diverged(attempts: Attempts) -> None:
    ask(attempts.start(), "one")
    run = attempts.start()
    replay(run, "one")
    ask(run, "two")
    assert diverged(run) == 0


def test_every_call_that_no_run_asks_for_again_is_counted(attempts: Attempts, caplog: pytest.LogCaptureFixture) -> None:
    first = attempts.start()
    for question in ("one", "at ten", "what follows from ten"):
        ask(first, question)
    use(first, "look")
    second = attempts.start()
    replay(second, "one")
    ask(second, "at eleven")
    third = attempts.start()
    replay(third, "one")
    ask(third, "at twelve")
    assert diverged(third) == 4
    assert "4 calls were made in vain" in caplog.text


def test_a_call_that_was_lost_in_flight_is_no_divergence_though_others_are_journaled(attempts: Attempts) -> None:
    """Of two tasks side by side one was answered."""
    ask(attempts.start(), "the second")
    run = attempts.start()
    ask(run, "the first")
    replay(run, "the second")
    assert diverged(run) == 0


def test_what_a_tool_asked_for_is_not_in_vain_if_its_result_is_replayed(attempts: Attempts) -> None:
    first = attempts.start()
    outer = {"tool": "outer"}
    inner = {"tool": "inner", "within": outer}
    first.call(Kind.MODEL, {"asked": "deep", "within": inner}, lambda: reply("deep"))
    use(first, "inner", outer)
    use(first, "outer")
    run = attempts.start()
    use(run, "outer")
    assert diverged(run) == 0


def test_what_a_replayed_tool_had_asked_for_is_used(attempts: Attempts) -> None:
    first = attempts.start()
    first.call(Kind.MODEL, {"asked": "deep", "within": {"tool": "look"}}, lambda: reply("deep"))
    use(first, "look")
    run = attempts.start()
    use(run, "look")
    assert run.usage() == first.usage()
    assert run.usage().calls == 1


def test_what_an_interrupted_tool_asked_for_is_in_vain_if_it_asks_something_else(attempts: Attempts) -> None:
    outer = {"tool": "outer"}
    attempts.start().call(Kind.MODEL, {"asked": "at ten", "within": outer}, lambda: reply("ten"))
    run = attempts.start()
    run.call(Kind.MODEL, {"asked": "at eleven", "within": outer}, lambda: reply("eleven"))
    use(run, "outer")
    assert diverged(run) == 1


def test_what_another_crew_asked_for_is_no_divergence(attempts: Attempts) -> None:
    """The crew has changed: the receipt says so by `restarts`."""
    ask(attempts.start(fingerprint="crew-1"), "one")
    run = attempts.start(fingerprint="crew-2")
    ask(run, "one")
    assert diverged(run) == 0


def test_a_reply_that_is_asked_for_anew_is_no_divergence(attempts: Attempts) -> None:
    first = attempts.start()
    ask(first, "one")
    attempts.fail(first)
    run = attempts.retry()
    ask(run, "one", "better")
    assert diverged(run) == 0
