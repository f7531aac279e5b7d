"""What a job costs, over HTTP: a crew, a model server that tells what each call used, the API on the real store.

The crew makes three calls of the model and one search; each call is told to use 10 tokens and 5.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.crews.models.models import Models
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records.answer import Passage
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.prices import Prices
from crewrelay.settings import ModelSettings
from crewrelay.system import utcnow
from tests.support.doubles.model_server import served
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import REQUEST, anybody, api_app, assert_problem, execution_of, run_app, submission_of

OWN = "as_of: 2026-01-02\nusd_per_million_tokens: {openai/scripted: {input: 2, cached_input: 1, output: 10}}"
HIDDEN = "A passage that nobody may see."
CALL = 0.00007  # dollars, of 10 tokens and 5


class Shelf:
    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        return [Passage(id="p1", title="One", url="https://example.org/1", text=HIDDEN, excerpt=HIDDEN)]


class Deployment:
    def __init__(self, storage: Storage, runner: CrewRunner, log: list[dict[str, Any]]) -> None:
        self._execution = execution_of(storage, runner)
        self.api = TestClient(api_app(storage))
        self.inline = TestClient(run_app(storage, runner))
        self.log = log

    def run(self, job_id: str = "") -> Any:
        """One attempt at the job, or at a new one; its status."""
        if not job_id:
            job_id = self.api.post("/crewai/run/async", json=REQUEST).json()["job_id"]
        self._execution.run(job_id, utcnow() + timedelta(minutes=10), first_call_is_free=True)
        return self.api.get(f"/crewai/status/{job_id}").json()

    def calls(self, job_id: str, **query: int) -> Any:
        return self.api.get(f"/crewai/jobs/{job_id}/calls", params=query).json()


Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(storage: Storage, tmp_path: Path) -> Iterator[Deploy]:
    with ExitStack() as stack:

        def deployed(*arguments: str, own: str = OWN, **settings: Any) -> Deployment:
            model = stack.enter_context(served(*arguments))
            prices = tmp_path / "prices.yaml"
            prices.write_text(own)
            asked = {"CREWRELAY_MODEL": "openai/scripted", "base_url": f"http://127.0.0.1:{model.port}/v1"}
            read = ModelSettings.model_validate(asked | {"prices": prices} | settings)
            return Deployment(storage, CrewRunner(Models(read), Shelf(), prices=Prices.read(read.prices)), model.log)

        yield deployed


def test_a_jobs_cost_is_told_in_its_usage_its_receipt_and_call_by_call(deploy: Deploy) -> None:
    deployment = deploy()
    job = deployment.run()
    used = {"model": "openai/scripted", "calls": 3, "prompt_tokens": 30, "completion_tokens": 15, "cost_usd": 0.00021}
    assert job["usage"] == used | {"by_model": [used]}
    assert (job["receipt"]["calls_paid"], job["receipt"]["cost_usd"]) == (3, 0.00021)
    told = deployment.calls(job["job_id"])
    assert (told["job_id"], told["total"]) == (job["job_id"], 4)
    assert [(call["number"], call["kind"]) for call in told["calls"]] == [
        (1, "model"),
        (2, "retrieval"),
        (3, "model"),
        (4, "model"),
    ]
    assert [call["cost_usd"] for call in told["calls"]] == [CALL, None, CALL, CALL]
    first, search = told["calls"][:2]
    assert datetime.fromisoformat(first.pop("at")).tzinfo
    assert first.pop("seconds") >= 0
    assert first == {
        "number": 1,
        "kind": "model",
        "model": "openai/scripted",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_usd": CALL,
        "fence": 1,
    }
    assert (search["model"], search["prompt_tokens"], search["completion_tokens"]) == (None, 0, 0)
    said = json.dumps(told)
    assert all(word not in said for word in ("neural", "passage", "About"))


def test_the_inline_answer_tells_what_is_unknown_and_leaves_out_only_the_address_that_it_needs_not(
    deploy: Deploy,
) -> None:
    deployment = deploy(own="as_of: 2026-01-02\nusd_per_million_tokens: {}")  # and a server of one's own
    answer = deployment.inline.post("/crewai/run", json=REQUEST).json()
    assert answer["usage"]["cost_usd"] is None
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["by_model"][0]["cost_usd"]) == (30, None)
    assert "answer_url" not in answer
    job = deployment.api.get(f"/crewai/status/{answer['job_id']}").json()
    assert (job["usage"], job["receipt"]["cost_usd"]) == (answer["usage"], None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_does_not_tell_what_a_call_used_makes_its_cost_unknown(deploy: Deploy, stream: bool) -> None:
    job = deploy("--usage", "", stream=stream).run()
    assert (job["status"], job["receipt"]["calls_paid"]) == ("completed", 3)
    assert (job["usage"]["prompt_tokens"], job["usage"]["cost_usd"], job["receipt"]["cost_usd"]) == (0, None, None)


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_provider_had_in_its_cache_costs_less(deploy: Deploy, stream: bool) -> None:
    job = deploy("--usage", "1000,100,600", stream=stream).run()
    assert job["receipt"]["cost_usd"] == pytest.approx(3 * (400 * 2 + 600 * 1 + 100 * 10) / 1e6)


def test_of_a_job_that_failed_and_was_retried_every_call_costs_once(deploy: Deploy) -> None:
    deployment = deploy("--statuses", "200,401")
    job = deployment.run()
    job_id = job["job_id"]
    assert (job["status"], job["usage"]) == ("failed", None)
    assert (job["receipt"]["calls_paid"], job["receipt"]["cost_usd"]) == (1, CALL)
    assert [call["kind"] for call in deployment.calls(job_id)["calls"]] == ["model", "retrieval"]
    deployment.api.post(f"/crewai/jobs/{job_id}/retry")
    job = deployment.run(job_id)
    assert (job["status"], len(deployment.log)) == ("completed", 4)  # one was refused, and cost nothing
    assert (job["receipt"]["calls_paid"], job["receipt"]["calls_replayed"]) == (3, 1)
    assert job["receipt"]["cost_usd"] == job["usage"]["cost_usd"] == 0.00021
    told = deployment.calls(job_id)
    assert [call["fence"] for call in told["calls"]] == [1, 1, 2, 2]
    assert sum(call["cost_usd"] or 0 for call in told["calls"]) == pytest.approx(job["receipt"]["cost_usd"])


# ---- the calls of a job


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return TestClient(api_app(storage, clock))


def paid_job(storage: Storage, clock: HandSetClock, calls: int, tenant: str = "local") -> str:
    store = storage.store(clock)
    job = submission_of(storage, clock).accept(tenant, JobInput(crew="research", inputs=REQUEST))
    for number in range(calls):
        clock.pass_(seconds=1)
        digest = f"{(number * 7) % 10}" * 64  # in the table they lie in another order
        store.put_call(
            job, Call(digest=digest, nth=number, kind=Kind.TOOL, seconds=1, at=clock(), reply=Reply(body='"a"'))
        )
    return job.id


def test_a_fresh_job_has_made_no_calls(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    job_id = paid_job(storage, clock, 0)
    assert client.get(f"/crewai/jobs/{job_id}/calls").json() == {"job_id": job_id, "total": 0, "calls": []}


def test_a_long_journal_is_read_part_by_part_in_the_order_of_its_calls(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    job_id = paid_job(storage, clock, 25)
    seen: list[dict[str, Any]] = []
    while len(seen) < 25:
        part = client.get(f"/crewai/jobs/{job_id}/calls", params={"after": len(seen), "limit": 10}).json()
        assert (part["total"], len(part["calls"])) == (25, min(10, 25 - len(seen)))
        seen += part["calls"]
    assert [call["number"] for call in seen] == list(range(1, 26))
    assert [call["at"] for call in seen] == sorted(call["at"] for call in seen)
    assert client.get(f"/crewai/jobs/{job_id}/calls", params={"after": 25}).json()["calls"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=-1", "after="])
def test_a_part_that_can_not_be_is_refused(
    client: TestClient, storage: Storage, clock: HandSetClock, query: str
) -> None:
    problem = assert_problem(
        client.get(f"/crewai/jobs/{paid_job(storage, clock, 1)}/calls?{query}"), 422, "invalid_request"
    )
    assert [error["field"] for error in problem["errors"]] == [query.partition("=")[0]]


def test_another_tenants_calls_do_not_exist(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    theirs = paid_job(storage, clock, 2, tenant="other")
    assert_problem(client.get(f"/crewai/jobs/{theirs}/calls"), 404, "unknown_job")
    other = TestClient(api_app(storage, clock, anonymous=anybody("other")))
    assert other.get(f"/crewai/jobs/{theirs}/calls").json()["total"] == 2
    assert_problem(client.get("/crewai/jobs/nobody/calls"), 404, "unknown_job")
