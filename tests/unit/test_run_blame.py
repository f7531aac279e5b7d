"""Which reply a failure is blamed on, and what a retry asks for anew."""

import pytest

from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.running.run import Run
from tests.support.runs import Attempts, ask, replay


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
