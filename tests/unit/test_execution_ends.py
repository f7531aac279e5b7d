"""How a run ends, what its job is then, and what the log says of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from crewrelay.jobs.errors import Misconfigured
from crewrelay.jobs.log_keys import log_keys
from crewrelay.jobs.ports import Calls, RelayDue
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.journal import Kind, Reply
from tests.support.executions import ANSWER, Desk, PausedCrew, ScriptedCrew, asks
from tests.support.fixtures import HandSetClock


@contextmanager
def keys_of_lines(caplog: pytest.LogCaptureFixture) -> Iterator[dict[str, dict[str, object]]]:
    """Of each line that is logged meanwhile the keys of its context."""
    keys: dict[str, dict[str, object]] = {}

    def keep(record: logging.LogRecord) -> bool:
        keys[record.getMessage()] = dict(log_keys())
        return True

    caplog.handler.addFilter(keep)
    try:
        with caplog.at_level(logging.INFO, "crewrelay"):
            yield keys
    finally:
        caplog.handler.removeFilter(keep)


def line(caplog: pytest.LogCaptureFixture, text: str) -> logging.LogRecord:
    (found,) = [record for record in caplog.records if text in record.getMessage()]
    return found


def test_a_crew_whose_lease_ran_out_leaves_its_job_to_whoever_comes_next(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := PausedCrew(asks("what?")))
    desk.submit()
    desk.table.renewals_fail = True
    job = desk.run(900, [desk.passes(20), desk.passes(20), desk.passes(20), crew.may_go_on.set])
    assert (job.status, job.error, job.fence) == (Status.RUNNING, None, 1)
    assert job.receipt.calls_paid == 0
    assert job.lease_until
    assert job.lease_until <= clock()
    desk.table.renewals_fail = False
    assert desk.run().status is Status.COMPLETED
    assert desk.job.fence == 2


@pytest.mark.parametrize("error", [Misconfigured("no bucket"), TypeError("no JSON"), ValueError("half a pair")])
def test_an_answer_that_can_not_be_kept_fails_the_job_with_the_reason(clock: HandSetClock, error: Exception) -> None:
    desk = Desk(clock, ScriptedCrew(asks("what?")))
    desk.submit()
    desk.table.answer_error = error
    job = desk.run()
    assert (job.status, job.receipt.calls_paid) == (Status.FAILED, 1)
    assert job.error == desk.crew.explain(error)


def test_a_job_that_fails_keeps_which_reply_its_crew_could_do_nothing_with(clock: HandSetClock) -> None:
    desk = Desk(clock, ScriptedCrew(asks("what?", "why?", then=ValueError("nonsense"))))
    desk.submit()
    job = desk.run()
    calls = list(desk.table.journal(job))
    assert (job.status, job.receipt.calls_paid, len(calls)) == (Status.FAILED, 2, 2)
    assert job.blamed == calls[-1].key


def test_a_reply_is_blamed_for_nothing_if_another_call_failed_after_it(clock: HandSetClock) -> None:
    def script(calls: Calls) -> Answer:
        asks("what?")(calls)
        calls.call(Kind.TOOL, {"asked": "why?"}, no_tool)
        return ANSWER

    def no_tool() -> Reply:
        raise ValueError("no such tool")

    desk = Desk(clock, ScriptedCrew(script))
    desk.submit()
    assert (desk.run().status, desk.job.blamed) == (Status.FAILED, None)


def deep(depth: int) -> None:
    if depth == 0:
        raise TimeoutError("the model took too long")
    deep(depth - 1)


def test_an_error_is_logged_with_the_last_five_steps_to_it(
    clock: HandSetClock, caplog: pytest.LogCaptureFixture
) -> None:
    def script(calls: Calls) -> Answer:
        deep(7)
        raise AssertionError

    desk = Desk(clock, ScriptedCrew(script))
    desk.submit()
    desk.run()
    said = vars(line(caplog, "the crew failed: TimeoutError"))
    assert said["retryable"] is True
    steps = said["where"]
    assert len(steps) == 5
    first = deep.__code__.co_firstlineno
    assert steps == [*[f"{__file__}:{first + 3} deep"] * 4, f"{__file__}:{first + 2} deep"]


def test_a_short_way_to_an_error_is_logged_from_its_beginning(
    clock: HandSetClock, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(clock, ScriptedCrew())
    desk.submit()
    desk.table.answer_error = ValueError("half a pair")
    desk.run()
    said = vars(line(caplog, "the crew failed: ValueError"))
    assert said["retryable"] is False
    assert [step.rpartition(" ")[2] for step in said["where"]] == ["_complete", "put_answer"]


def test_a_crew_that_has_changed_is_told_of_in_the_log(clock: HandSetClock, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(clock, ScriptedCrew(asks("what?", then=RelayDue("no time"))))
    desk.submit()
    desk.run()
    desk.run()
    assert "the crew has changed" not in caplog.text
    desk.crew.version = "crew-2"
    assert desk.run().restarts == 1
    assert line(caplog, "the crew has changed").levelname == "WARNING"


def test_a_line_about_a_job_that_is_gone_has_its_id(clock: HandSetClock, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(clock, ScriptedCrew())
    desk.submit()
    clock.pass_(days=31)
    with keys_of_lines(caplog) as keys:
        desk.answer_bell()
    assert keys == {"no such job, or no longer": {"job_id": "an-id"}}
    assert desk.crew.runs == 0


def test_a_damaged_job_is_left_to_the_sweeper(clock: HandSetClock, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(clock, ScriptedCrew())
    desk.table.damaged.add(desk.submit())
    desk.answer_bell()
    said = line(caplog, "left to the sweeper")
    assert (said.levelname, said.exc_info is not None) == ("ERROR", True)
    assert (desk.crew.runs, desk.doorbell.rings) == (0, [])
    desk.table.damaged.clear()
    assert (desk.job.status, desk.job.fence) == (Status.PENDING, 0)


def test_a_pause_after_an_error_that_may_pass_is_over_for_a_clock_that_is_behind(clock: HandSetClock) -> None:
    desk = Desk(clock, ScriptedCrew(asks(then=TimeoutError())))
    desk.submit()
    job = desk.run()
    assert job.not_before == clock() + timedelta(seconds=7.5)
    assert desk.doorbell.delays == [timedelta(seconds=7.5) + desk.policy.skew]
