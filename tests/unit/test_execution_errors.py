"""What becomes of a job whose crew raises an error, and of the error's text."""

from datetime import timedelta

import pytest

from crewrelay.crews.models.failures import ToolUnavailable, explain
from crewrelay.jobs.errors import InvalidRequest, Unavailable
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput, Status
from crewrelay.jobs.records.policy import Policy
from tests.support.fixtures import HandSetClock
from tests.support.live_executions import ANSWER, POLICY, Crew, Desk


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("no such model"), "ValueError", "no such model"),
        (InvalidRequest("the model's name is wrong"), "invalid_request", "the model's name is wrong"),
        (SystemExit("context too long"), "SystemExit", "context too long"),
        (KeyboardInterrupt(), "KeyboardInterrupt", "The crew gave no reason."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_crew_that_raises_fails_the_job_with_its_reason(error: BaseException, kind: str, message: str) -> None:
    def script(_: JobInput) -> Answer:
        raise error

    desk = Desk(Crew(script))
    job_id = desk.submit()
    desk.run(job_id)
    job, _, answer, *_ = desk.record(job_id)
    assert (job.status, answer) == (Status.FAILED, None)
    assert job.error is not None
    assert job.error.type == kind
    assert message in job.error.message
    assert job.error.retryable is False


@pytest.mark.parametrize("error", [TimeoutError("the model took too long"), Unavailable("the search is down")])
def test_an_error_that_may_pass_gives_the_job_back_for_later(error: Exception, clock: HandSetClock) -> None:
    def script(_: JobInput) -> Answer:
        raise error

    desk = Desk(Crew(script), clock=clock)
    job_id = desk.submit()
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.attempts, job.holder) == (Status.PENDING, 1, None)
    assert job.error is not None
    assert job.error.retryable
    assert job.not_before == clock() + desk.doorbell.delays[0] - POLICY.skew  # a clock behind ours finds it over too
    assert desk.doorbell.rings == [job_id]
    desk.run(job_id)  # a duplicate of the message does not defeat the backoff
    assert desk.record(job_id).job == job
    clock.now = job.not_before
    desk.run(job_id)
    assert desk.record(job_id).job.attempts == 2


def test_an_error_that_does_not_pass_fails_the_job_after_its_attempts(clock: HandSetClock) -> None:
    def script(_: JobInput) -> Answer:
        raise ToolUnavailable("weather") from TimeoutError("too slow")

    desk = Desk(Crew(script), Policy(max_attempts=3), clock)
    job_id = desk.submit()
    for _ in range(3):
        clock.pass_(minutes=1)
        desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.attempts) == (Status.FAILED, 3)
    assert job.error is not None
    assert (job.error.type, job.error.retryable) == ("TimeoutError", True)


@pytest.mark.parametrize(("seconds_left", "status"), [(9, Status.PENDING), (7, Status.FAILED)])
def test_a_job_does_not_back_off_beyond_its_end(seconds_left: int, status: Status, clock: HandSetClock) -> None:
    def script(_: JobInput) -> Answer:
        raise TimeoutError("the model took too long")

    desk = Desk(Crew(script), clock=clock)  # the first pause is 7.5 s
    job_id = desk.submit()
    clock.now = desk.record(job_id).job.end_by - timedelta(seconds=seconds_left)
    desk.run(job_id)
    job = desk.record(job_id).job
    assert job.status is status
    assert job.error is not None
    assert job.error.type == "TimeoutError"


def test_a_long_reason_is_cut() -> None:
    assert len(explain(ValueError("x" * 10_000)).message) == 560


@pytest.mark.parametrize("character", ["é", "漢", "🌧"])
def test_a_reason_is_cut_between_characters(character: str) -> None:
    message = explain(ValueError(character * 10_000)).message
    assert set(message) == {character}
    assert 550 < len(message.encode()) <= 560


def test_a_reason_can_always_be_written_down() -> None:
    """A model's JSON may hold half a surrogate pair, and an error quote it."""
    explain(ValueError("the model said \ud83d")).message.encode()


def test_an_answer_that_can_not_be_written_down_still_ends_the_job() -> None:
    desk = Desk(Crew(lambda _: ANSWER.model_copy(update={"text": "half a pair: \ud83d"})))
    job_id = desk.submit()
    desk.run(job_id)
    assert desk.record(job_id).job.status.finished


def test_a_job_that_used_up_its_attempts_fails_with_a_reason(clock: HandSetClock) -> None:
    desk = Desk(Crew(), Policy(max_attempts=2), clock)
    job_id = desk.submit()
    for _ in range(3):
        desk.claim_by_a_rival(job_id)  # who dies, the first time perhaps of another job
        clock.pass_(minutes=10)
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.attempts) == (Status.FAILED, 2)
    assert job.error is not None
    assert job.error.type == "attempts_exhausted"
    assert "2 attempts" in job.error.message
    assert desk.crew.inputs == []
