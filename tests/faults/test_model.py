"""Models that are throttled, refuse the key, hang, never come to an end, or answer nonsense."""

from datetime import timedelta
from typing import Any

import pytest
from crewai import Agent, Crew, Task
from pydantic import BaseModel

from crewrelay.crews.running import runner
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.system import utcnow
from tests.faults.bench import Bench, NewBench
from tests.faults.engines import ONLY_SQLITE
from tests.faults.functions import Functions
from tests.support.stack import model_variables
from tests.support.waiting import wait_until

pytestmark = ONLY_SQLITE
CALLS = 3
HASTY = Policy(first_backoff=timedelta(seconds=0.5), max_attempts=3)


def run_to_its_end(bench: Bench, functions: Functions) -> Job:
    """Delivered whenever it may be claimed, as by a queue."""
    job = bench.submit("neural networks", ring=False)
    for _ in range(20):
        assert functions.deliver(job, job) == []  # a duplicate can't defeat the backoff
        now = bench.job(job.id)
        if now.status.finished:
            return now
        wait_until(lambda: (bench.job(job.id).not_before or utcnow()) <= utcnow(), within=10)
    raise AssertionError(now)


def failed(job: Job) -> tuple[str, bool]:
    assert job.status is Status.FAILED
    assert job.error
    return job.error.type, job.error.retryable


def test_a_storm_of_429_is_weathered(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("--statuses", "200,429,429", policy=HASTY)
    job = run_to_its_end(bench, Functions(bench, monkeypatch))
    assert job.status is Status.COMPLETED
    assert job.receipt.calls_paid == CALLS
    assert len(bench.model.log()) == CALLS + 2
    story = bench.engine.transitions()[job.id]
    for step in story:
        if step.before and step.before.not_before:  # it was not claimed before its time
            assert step.after.lease_until
            assert step.after.lease_until - bench.policy.lease >= step.before.not_before


def tried_past_its_attempts(bench: Bench, functions: Functions) -> Job:
    """A job that an outage keeps from getting on: it is tried more often than other errors would let it."""
    job = bench.submit("neural networks", ring=False)
    for _ in range(HASTY.max_attempts + 1):
        assert functions.deliver(job, job) == []
        wait_until(lambda: (bench.job(job.id).not_before or utcnow()) <= utcnow(), within=20)
    return bench.job(job.id)


def test_a_storm_that_does_not_end_is_waited_for_with_its_reason(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench("--statuses", "429", "--for-ever", policy=HASTY)
    job = tried_past_its_attempts(bench, Functions(bench, monkeypatch))
    assert job.status is Status.PENDING
    assert job.error
    assert job.error.type == "RateLimitError"
    assert "rate limit" in job.error.message
    assert len(bench.model.log()) == HASTY.max_attempts + 1


def test_a_refused_key_fails_at_once(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("--statuses", "401", "--for-ever", policy=HASTY)
    job = run_to_its_end(bench, Functions(bench, monkeypatch))
    assert failed(job) == ("AuthenticationError", False)
    assert job.error
    assert "CREWRELAY_MODEL_API_KEY" in job.error.message
    assert len(bench.model.log()) == 1


def test_a_key_without_quota_fails_at_once_though_it_is_a_429(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench("--statuses", "429", "--for-ever", "--code", "insufficient_quota", policy=HASTY)
    job = run_to_its_end(bench, Functions(bench, monkeypatch))
    assert failed(job) == ("RateLimitError", False)
    assert len(bench.model.log()) == 1


def test_a_model_that_hangs_is_given_up_and_asked_again_later(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench("--delay", "30", policy=HASTY, CREWRELAY_MODEL_TIMEOUT="0.3")
    job = tried_past_its_attempts(bench, Functions(bench, monkeypatch))
    assert job.status is Status.PENDING
    assert job.error
    assert "did not answer" in job.error.message
    assert len(bench.model.log()) == HASTY.max_attempts + 1


def test_a_server_that_is_not_there_is_waited_for_with_its_reason(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench(policy=HASTY)
    bench.environment |= model_variables(9)  # discard: nobody listens
    job = tried_past_its_attempts(bench, Functions(bench, monkeypatch))
    assert job.status is Status.PENDING
    assert job.attempts > HASTY.max_attempts
    assert job.error
    assert job.error.retryable
    assert "did not answer" in job.error.message


def test_an_endless_tool_loop_ends_at_the_budget(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("--searches", "1000", policy=HASTY, CREWRELAY_MAX_CALLS="4")
    functions = Functions(bench, monkeypatch)
    job = run_to_its_end(bench, functions)
    assert failed(job) == ("budget_exceeded", False)
    assert job.receipt.calls_paid == len(bench.model.log()) == 4
    retried = functions.http.post(f"/crewai/jobs/{job.id}/retry")
    assert retried.json()["status"] == "pending"
    functions.deliver(job)
    assert failed(bench.job(job.id)) == ("budget_exceeded", False)  # it survives a retry
    assert len(bench.model.log()) == 4


def test_tokens_are_a_budget_too(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("--searches", "1000", policy=HASTY, CREWRELAY_MAX_TOKENS="40")  # a call uses 15
    job = run_to_its_end(bench, Functions(bench, monkeypatch))
    assert failed(job) == ("budget_exceeded", False)
    assert job.receipt.prompt_tokens + job.receipt.completion_tokens == 45
    assert len(bench.model.log()) == 3


class Report(BaseModel):
    title: str
    pages: int


def structured(definition: Any, given: Any, model_of: Any, search: Any) -> Crew:
    """A crew that wants its answer in a shape."""
    writer = Agent(role="Writer", goal="Report", backstory="Writes.", llm=model_of(None), max_iter=3)
    task = Task(description="Topic: neural networks", expected_output="A report.", agent=writer, output_pydantic=Report)
    return Crew(agents=[writer], tasks=[task])


def test_an_answer_in_the_wrong_shape_fails_the_job_and_is_counted(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench(policy=HASTY)
    monkeypatch.setattr(runner, "build", structured)
    functions = Functions(bench, monkeypatch)
    job = run_to_its_end(bench, functions)
    assert failed(job) == ("MisshapenReply", False)
    assert job.error
    assert "not in the shape" in job.error.message
    assert len(bench.model.log()) == job.receipt.calls_paid == 1
    functions.http.post(f"/crewai/jobs/{job.id}/retry")
    functions.deliver(job)
    assert failed(bench.job(job.id)) == ("MisshapenReply", False)
    assert len(bench.model.log()) == bench.job(job.id).receipt.calls_paid == 2  # a retry asks for another answer


def gives_up(*whatever: Any) -> Crew:
    crew = structured(*whatever)
    for agent in crew.agents:
        vars(agent)["respect_context_window"] = False  # CrewAI then raises SystemExit
    crew.tasks[0].output_pydantic = None
    return crew


def test_a_library_that_exits_fails_the_job_and_not_the_worker(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench("--statuses", "400", "--for-ever", "--code", "context_length_exceeded", policy=HASTY)
    monkeypatch.setattr(runner, "build", gives_up)
    job = run_to_its_end(bench, Functions(bench, monkeypatch))
    assert failed(job) == ("SystemExit", False)
    assert job.error
    assert "context window" in job.error.message
    assert len(bench.model.log()) == 1
