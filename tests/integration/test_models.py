"""A research crew and a real model server: what each fault of the server does to the job, and what a retry then pays.

The crew makes three calls: it asks for a search, takes notes, answers. The second meets the fault.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from crewrelay.aws import clients
from crewrelay.aws.bedrock import BedrockClient
from crewrelay.crews.models.models import Models
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records.answer import Passage
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.execution import Execution
from crewrelay.jobs.submission import Submission
from crewrelay.settings import ModelSettings
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.doubles.model_server import Served, served
from tests.support.fixtures import HandSetClock
from tests.support.waiting import wait_until

POLICY = Policy(first_backoff=timedelta(seconds=10), max_attempts=3)
CALLS = 3


class Shelf:
    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        return [
            Passage(id=f"p{n}", title=f"Title {n}", url=f"https://example.org/{n}", text=query, excerpt=query)
            for n in (1, 2)
        ]


class RunningClock(HandSetClock):
    """Goes on by itself, from where it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()

    def __call__(self) -> datetime:
        return self.now + timedelta(seconds=time.monotonic() - self._started)


class Deployment:
    """One job, run attempt by attempt in this process; no backoff is waited for."""

    def __init__(self, model: Served, clock: HandSetClock, **settings: Any) -> None:
        self.model = model
        self.clock = clock
        self.store = MemoryJobStore(clock)
        defaults = {
            "CREWRELAY_MODEL": "openai/scripted",
            "base_url": f"http://127.0.0.1:{model.port}/v1",
            "timeout": 20,
        }
        models = Models(
            ModelSettings.model_validate(defaults | {"timeout": 20} | settings), clients={"bedrock": BedrockClient}
        )
        runner = CrewRunner(models, Shelf())
        self._execution = Execution(self.store, MemoryDoorbell(), runner, clock, lambda: "me", lambda: 0.0, POLICY)
        job_input = JobInput(crew="research", inputs={"topic": "neural networks", "language": "en"})
        Submission(self.store, MemoryDoorbell(), clock, lambda: "an-id", POLICY).submit("local", job_input)

    def attempt(self, seconds: float = 900) -> Job:
        self.clock.now = max(self.clock.now, self.job.not_before or self.clock.now)
        self._execution.run("an-id", self.clock() + timedelta(seconds=seconds), first_call_is_free=True)
        return self.job

    @property
    def job(self) -> Job:
        record = self.store.load("an-id")
        assert record
        return record.job

    @property
    def answer(self) -> Any:
        record = self.store.load("an-id")
        assert record
        return record.answer

    def replies(self) -> list[tuple[str, str]]:
        return [(call.kind, call.reply.body) for call in self.store.journal(self.job)]


@contextmanager
def deployed(clock: HandSetClock, *arguments: str, **settings: Any) -> Iterator[Deployment]:
    with served(*arguments) as model:
        yield Deployment(model, clock, **settings)


@pytest.mark.parametrize(
    ("fault", "type_", "said"),
    [
        (["429"], "RateLimitError", "rate limit"),
        (["500"], "InternalServerError", "scripted 500"),
        (["503"], "InternalServerError", "scripted 503"),
        (["hang"], "ConnectionError", "did not answer"),
        (["cut"], "ConnectionError", "did not answer"),
        (["truncated"], "ConnectionError", "broke off"),
        (["nothing"], "APIResponseValidationError", "no answer that can be read"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_fault_that_may_pass_is_one_request_and_a_retry_pays_only_what_is_missing(
    clock: HandSetClock, fault: list[str], type_: str, said: str
) -> None:
    timeout = 0.5 if fault == ["hang"] else 20
    with deployed(clock, "--statuses", f"200,{fault[0]}", timeout=timeout) as deployment:
        job = deployment.attempt()
        assert job.status is Status.PENDING, job
        assert job.error
        assert (job.error.type, job.error.retryable) == (type_, True)
        assert said in job.error.message
        assert len(deployment.model.log) == 2
        assert job.not_before == clock() + POLICY.first_backoff / 2
        job = deployment.attempt()
        assert job.status is Status.COMPLETED, job.error
        assert len(deployment.model.log) == CALLS + 1
        assert job.receipt.calls_paid == CALLS
        first, failed, again, last = (call["digest"] for call in deployment.model.log)
        assert failed == again
        assert len({first, again, last}) == CALLS


@pytest.mark.parametrize(
    ("fault", "type_", "said"),
    [
        (["400"], "BadRequestError", "refused the request"),
        (["401"], "AuthenticationError", "CREWRELAY_MODEL_API_KEY"),
        (["403"], "PermissionDeniedError", "CREWRELAY_MODEL"),
        (["404"], "NotFoundError", "no such model"),
        (["429", "--code", "insufficient_quota"], "RateLimitError", "quota"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_fault_that_lasts_is_one_request_and_the_end(
    clock: HandSetClock, fault: list[str], type_: str, said: str
) -> None:
    with deployed(clock, "--statuses", f"200,{fault[0]}", *fault[1:]) as deployment:
        job = deployment.attempt()
        assert job.status is Status.FAILED
        assert job.error
        assert (job.error.type, job.error.retryable) == (type_, False)
        assert said in job.error.message
        assert len(deployment.model.log) == 2


def test_a_conversation_that_is_too_long_is_shortened_by_crewai_and_the_job_goes_on(clock: HandSetClock) -> None:
    with deployed(clock, "--statuses", "200,400", "--code", "context_length_exceeded") as deployment:
        job = deployment.attempt()
        assert job.status is Status.COMPLETED, job.error
        paid = len(deployment.model.log) - 1
        assert job.receipt.calls_paid == paid
        assert paid > CALLS  # the summary


def test_the_retry_waits_for_as_long_as_it_was_asked_to(clock: HandSetClock) -> None:
    with deployed(clock, "--statuses", "429", "--retry-after", "90") as deployment:
        job = deployment.attempt()
        assert job.not_before == clock() + timedelta(seconds=90)
        assert job.error
        assert "retry_after" not in job.model_dump(mode="json")["error"]
        assert deployment.attempt().status is Status.COMPLETED


def test_a_call_waits_no_longer_than_its_run_has_left_and_the_run_is_relayed() -> None:
    with deployed(RunningClock(), "--statuses", "200,hang") as deployment:  # by its own timeout it would wait for 20 s
        job = deployment.attempt(seconds=2.5)
        assert (job.status, job.relays, job.error, job.not_before) == (Status.PENDING, 1, None, None)
        wait_until(lambda: [call["cut"] for call in deployment.model.log] == [False, True], within=5)
        job = deployment.attempt()
        assert (job.status, job.attempts) == (Status.COMPLETED, 1)
        assert len(deployment.model.log) == CALLS + 1


def test_a_streamed_reply_is_journaled_as_the_same_reply(clock: HandSetClock) -> None:
    ran = []
    for stream in (False, True):
        with deployed(clock, "--searches", "2", stream=stream) as deployment:
            assert deployment.attempt().status is Status.COMPLETED
            assert [call["stream"] for call in deployment.model.log] == [stream] * 4
            ran.append((deployment.replies(), deployment.answer, deployment.job.receipt))
    assert ran[0] == ran[1]


@pytest.mark.parametrize("fault", ["429", "500", "hang", "cut"])
def test_a_stream_that_fails_is_one_request_too_and_may_pass(clock: HandSetClock, fault: str) -> None:
    with deployed(clock, "--statuses", f"200,{fault}", stream=True, timeout=0.5) as deployment:
        job = deployment.attempt()
        assert job.error
        assert (job.status, job.error.retryable) == (Status.PENDING, True)
        assert len(deployment.model.log) == 2
        assert deployment.attempt().status is Status.COMPLETED
        assert len(deployment.model.log) == CALLS + 1


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    """Bedrock's address, with a model server behind it."""
    with ExitStack() as stack:
        for name, value in (("ACCESS_KEY_ID", "id"), ("SECRET_ACCESS_KEY", "secret"), ("REGION", "us-east-1")):
            monkeypatch.setenv(f"AWS_{name}", value)

        def served_as_bedrock(*arguments: str) -> Served:
            model = stack.enter_context(served(*arguments))
            monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", f"http://127.0.0.1:{model.port}")
            clients.bedrock.cache_clear()
            return model

        yield served_as_bedrock
    clients.bedrock.cache_clear()


NOVA = {"CREWRELAY_MODEL": "bedrock/amazon.nova-lite-v1:0", "base_url": None}


@pytest.mark.parametrize(
    ("status", "said"), [("429", "rate limit"), ("500", "scripted"), ("503", "scripted"), ("hang", "did not answer")]
)
def test_bedrock_is_asked_once_and_a_retry_pays_only_what_is_missing(
    bedrock: Callable[..., Served], clock: HandSetClock, status: str, said: str
) -> None:
    model = bedrock("--statuses", f"200,{status}", "--retry-after", "90")
    deployment = Deployment(model, clock, **NOVA, timeout=1 if status == "hang" else 20)
    job = deployment.attempt()
    assert job.status is Status.PENDING
    assert job.error
    assert said in job.error.message
    assert job.not_before == clock() + (POLICY.first_backoff / 2 if status == "hang" else timedelta(seconds=90))
    assert len(model.log) == 2
    job = deployment.attempt()
    assert job.status is Status.COMPLETED, job.error
    assert len(model.log) == CALLS + 1
    assert (job.receipt.calls_paid, job.receipt.prompt_tokens) == (CALLS, 10 * CALLS)


def test_bedrock_refusing_the_model_is_the_end(bedrock: Callable[..., Served], clock: HandSetClock) -> None:
    model = bedrock("--statuses", "403")
    job = Deployment(model, clock, **NOVA).attempt()
    assert job.error
    assert (job.status, job.error.retryable, len(model.log)) == (Status.FAILED, False, 1)
    assert "may not use this model" in job.error.message


def test_a_call_of_bedrock_waits_no_longer_than_its_run_has_left(bedrock: Callable[..., Served]) -> None:
    model = bedrock("--statuses", "200,hang")
    deployment = Deployment(model, RunningClock(), **NOVA)
    runs = 0
    while len(model.log) < 2:  # on a busy machine a run may end before it comes to the call that hangs
        job = deployment.attempt(seconds=2.5)
        runs += 1
        assert (job.status, job.relays, job.error) == (Status.PENDING, runs, None)
    assert deployment.attempt().status is Status.COMPLETED
