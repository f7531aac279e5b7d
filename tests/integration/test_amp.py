"""CrewAI's platform's API at /amp/{crew}, over the real store and queue."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.questions import Feedback, Question
from tests.support.crews import OwnCrews
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import (
    ANSWER,
    QUESTION_ID,
    REQUEST,
    ScriptedCrew,
    anybody,
    api_app,
    execution_of,
    job_that_is,
)

BASE = "/amp/research"


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return TestClient(api_app(storage, clock), raise_server_exceptions=False)


def assert_refused(response: Any, status: int, said: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json"), body
    assert said in body["message"]
    assert body["error"]
    return body


class AskingCrew(ScriptedCrew):
    """Asks a human before it answers, and answers with what was said."""

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        calls.begin_task("writing", "Writer", 1, 1)
        said = calls.ask(Question(message="Is it good?", task="writing", output="A draft."))
        calls.end_task()
        return Answer(text=said.model_dump_json(), usage=Usage(model="scripted/one"))


def test_a_crew_is_healthy_and_names_its_inputs(client: TestClient) -> None:
    for path in (BASE, f"{BASE}/"):
        healthy = client.get(path)
        assert (healthy.status_code, healthy.text) == (200, "Healthy")
    assert client.get(f"{BASE}/inputs").json() == {"inputs": ["topic", "language"]}


def test_an_execution_is_started_and_followed_to_its_result(storage: Storage, clock: HandSetClock) -> None:
    client = TestClient(api_app(storage, clock))
    started = client.post(f"{BASE}/kickoff", json={"inputs": REQUEST})
    assert (started.status_code, list(started.json())) == (200, ["kickoff_id"])
    kickoff_id = started.json()["kickoff_id"]
    pending = client.get(f"{BASE}/status/{kickoff_id}").json()
    assert (pending["state"], pending["status"], pending["result"]) == ("PENDING", "running", None)
    assert (pending["execution_time"], pending["last_executed_task"]) == (None, None)
    execution_of(storage, ScriptedCrew(), clock).run(kickoff_id, clock.now.replace(year=2027))
    done = client.get(f"{BASE}/status/{kickoff_id}").json()
    assert (done["state"], done["status"], done["result"]) == ("SUCCESS", "completed", ANSWER.text)
    assert done["last_executed_task"]["output"] == ANSWER.text
    assert (done["result_json"], done["error"], done["execution_time"]) == (None, None, 0.0)
    assert done["sources"][0]["url"] == "https://example.org/n"


@pytest.mark.parametrize(
    ("status", "state", "shown", "error"),
    [
        ("pending", "PENDING", "running", None),
        ("running", "RUNNING", "running", None),
        ("waiting", "RUNNING", "pending_human_input", None),
        ("completed", "SUCCESS", "completed", None),
        ("failed", "FAILED", "error", "The model is gone."),
        ("cancelled", "FAILED", "error", "The execution was stopped."),
    ],
)
def test_every_state_is_told_in_both_ways(
    client: TestClient, storage: Storage, clock: HandSetClock, status: str, state: str, shown: str, error: str | None
) -> None:
    job = job_that_is(status, storage, clock)
    clock.pass_(seconds=1.25)
    told = client.get(f"{BASE}/status/{job.id}").json()
    assert (told["state"], told["status"], told["error"]) == (state, shown, error)
    assert (told["result"] is not None) == (status == "completed")
    assert bool(told["pending_human_input"]) == (status == "waiting")
    assert told["execution_time"] == {"pending": None, "cancelled": None, "completed": 0.0, "failed": 0.0}.get(
        status, 1.2
    )


def test_a_result_that_is_json_is_told_as_such_and_as_a_string(storage: Storage, clock: HandSetClock) -> None:
    client = TestClient(api_app(storage, clock))
    texts = ('{"title": "Rain"}', "[" * 100_000, "7")
    found = []
    for text in texts:
        job_id = client.post(f"{BASE}/kickoff", json={"inputs": REQUEST}).json()["kickoff_id"]
        crew = ScriptedCrew(lambda _, text=text: Answer(text=text, usage=Usage(model="scripted/one")))  # type: ignore[misc]
        execution_of(storage, crew, clock).run(job_id, clock.now.replace(year=2027))
        told = client.get(f"{BASE}/status/{job_id}").json()
        found.append((told["result"], told["result_json"]))
    assert found == list(zip(texts, ({"title": "Rain"}, None, None), strict=True))


def test_a_result_that_is_too_large_is_told_by_its_url(storage: Storage, clock: HandSetClock) -> None:
    client = TestClient(api_app(storage, clock))
    job_id = client.post(f"{BASE}/kickoff", json={"inputs": REQUEST}).json()["kickoff_id"]
    crew = ScriptedCrew(lambda _: Answer(text="x" * 1_100_000, usage=Usage(model="scripted/one")))
    execution_of(storage, crew, clock).run(job_id, clock.now.replace(year=2027))
    told = client.get(f"{BASE}/status/{job_id}").json()
    assert told["state"] == "SUCCESS"
    assert told["result_url"].startswith("http")
    assert told["result"].endswith(told["result_url"])


def test_missing_inputs_are_named_all_at_once(client: TestClient, storage: Storage) -> None:
    for inputs in ({}, None, {"topic": None, "prompt": "x"}):
        body = assert_refused(client.post(f"{BASE}/kickoff", json={"inputs": inputs}), 422, "topic, language")
        assert body["details"] == {"missing_inputs": ["topic", "language"]}
    body = assert_refused(client.post(f"{BASE}/kickoff", json={"inputs": {"topic": "x"}}), 422, "language")
    assert body["details"] == {"missing_inputs": ["language"]}
    assert storage.rows() == []


def test_what_the_platform_ignores_is_ignored(client: TestClient) -> None:
    """Nulls, unknown fields, and inputs that the crew does not have: crewai-tools sends `prompt` by default."""
    body = {
        "inputs": REQUEST | {"prompt": "Tell me.", "id": None},
        "taskWebhookUrl": None,
        "stepWebhookUrl": "",
        "crewWebhookUrl": None,
        "webhooks": {},
        "humanInputWebhook": None,
        "meta": {"requestId": "7"},
        "generateArtifact": False,
    }
    started = client.post(f"{BASE}/kickoff", json=body)
    assert started.status_code == 200
    job = client.get(f"/crewai/status/{started.json()['kickoff_id']}").json()
    assert job["inputs"] == REQUEST


def test_the_same_idempotency_key_starts_one_execution(client: TestClient) -> None:
    ids = [
        client.post(f"{BASE}/kickoff", json={"inputs": REQUEST}, headers={"Idempotency-Key": "k"}).json()["kickoff_id"]
        for _ in range(2)
    ]
    assert ids[0] == ids[1]
    other = {"inputs": REQUEST | {"topic": "rain"}}
    assert_refused(client.post(f"{BASE}/kickoff", json=other, headers={"Idempotency-Key": "k"}), 422, "new key")


def test_a_full_house_is_429(storage: Storage, clock: HandSetClock) -> None:
    client = TestClient(api_app(storage, clock, most_unfinished=1))
    assert client.post(f"{BASE}/kickoff", json={"inputs": REQUEST}).status_code == 200
    refused = client.post(f"{BASE}/kickoff", json={"inputs": REQUEST})
    assert_refused(refused, 429, "limit")
    assert refused.headers["retry-after"] == "5"


def test_stopping_ends_an_execution_once(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("running", storage, clock)
    for _ in range(2):
        stopped = client.post(f"{BASE}/stop/{job.id}")
        assert (stopped.status_code, stopped.json()) == (200, {"status": "stopped", "kickoffId": job.id})
    assert client.get(f"{BASE}/status/{job.id}").json()["state"] == "FAILED"
    for status, state in (("completed", "SUCCESS"), ("failed", "FAILED")):
        refused = client.post(f"{BASE}/stop/{job_that_is(status, storage, clock).id}")
        body = assert_refused(refused, 400, state)
        assert body["detail"] == f"Cannot stop execution. Current state: {state}"


@pytest.mark.parametrize(
    ("answer", "status", "journaled"),
    [
        (
            {"human_feedback": "Great, go on.", "is_approve": True},
            "resumed",
            Feedback(text="Great, go on.", accepted=True),
        ),
        ({"human_feedback": "Shorter.", "is_approve": False}, "retrying", Feedback(text="Shorter.")),
        ({"human_feedback": None, "is_approve": True}, "resumed", Feedback(accepted=True)),
        ({"humanFeedback": "Shorter.", "isApprove": False}, "retrying", Feedback(text="Shorter.")),
        ({"human_feedback": "Shorter.", "is_approve": None}, "retrying", Feedback(text="Shorter.")),
    ],
)
def test_feedback_resumes_an_execution_that_waits(
    storage: Storage, clock: HandSetClock, answer: dict[str, Any], status: str, journaled: Feedback
) -> None:
    client, execution = TestClient(api_app(storage, clock)), execution_of(storage, AskingCrew(), clock)
    job_id = client.post(f"{BASE}/kickoff", json={"inputs": REQUEST}).json()["kickoff_id"]
    execution.run(job_id, clock.now.replace(year=2027))
    waiting = client.get(f"{BASE}/status/{job_id}").json()
    assert (waiting["current_task"], waiting["status"]) == ("writing", "pending_human_input")
    asked = waiting["pending_human_input"]
    assert (asked["message"], asked["task"], asked["output"]) == ("Is it good?", "writing", "A draft.")
    body = {"executionId" if "isApprove" in answer else "execution_id": job_id, "task_id": asked["task_id"]} | answer
    resumed = client.post(f"{BASE}/resume", json=body)
    assert (resumed.status_code, resumed.json()["status"]) == (200, status)
    assert client.post(f"{BASE}/resume", json=body).json() == resumed.json()
    assert_refused(client.post(f"{BASE}/resume", json=body | {"human_feedback": "No!"}), 400, "other feedback")
    execution.run(job_id, clock.now.replace(year=2027))
    done = client.get(f"{BASE}/status/{job_id}").json()
    assert Feedback.model_validate_json(done["result"]) == journaled


@pytest.mark.parametrize("task", ["writing", "", None, QUESTION_ID])
def test_a_task_may_be_named_or_left_out(client: TestClient, storage: Storage, clock: HandSetClock, task: Any) -> None:
    job = job_that_is("waiting", storage, clock)
    body = {"execution_id": job.id, "task_id": task, "human_feedback": "Fine.", "is_approve": True}
    assert client.post(f"{BASE}/resume", json=body).status_code == 200


def test_feedback_that_nobody_waits_for_is_refused(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    good = {"human_feedback": "Fine.", "is_approve": True}
    waiting = job_that_is("waiting", storage, clock)
    before = storage.rows()
    other = good | {"execution_id": waiting.id, "task_id": "title"}
    assert_refused(client.post(f"{BASE}/resume", json=other), 400, "does not wait")
    silent = {"execution_id": waiting.id, "human_feedback": " ", "is_approve": False}
    assert_refused(client.post(f"{BASE}/resume", json=silent), 422, "human_feedback: must say what to change")
    assert storage.rows() == before
    completed = job_that_is("completed", storage, clock)
    assert_refused(client.post(f"{BASE}/resume", json=good | {"execution_id": completed.id}), 400, "does not wait")
    assert_refused(client.post(f"{BASE}/resume", json=good | {"execution_id": "nobodys"}), 404, "no job nobodys")


def test_one_of_several_options_is_chosen_by_the_feedback(storage: Storage, clock: HandSetClock) -> None:
    question = Question(message="Which?", options=("tea", "milk"), must_choose=True)

    class Choosing(ScriptedCrew):
        def run(self, job_input: JobInput, calls: Calls) -> Answer:
            return Answer(text=calls.ask(question).option or "", usage=Usage(model="scripted/one"))

    client, execution = TestClient(api_app(storage, clock)), execution_of(storage, Choosing(), clock)
    job_id = client.post(f"{BASE}/kickoff", json={"inputs": REQUEST}).json()["kickoff_id"]
    execution.run(job_id, clock.now.replace(year=2027))
    body = {"execution_id": job_id, "is_approve": True}
    assert_refused(client.post(f"{BASE}/resume", json=body | {"human_feedback": "beer"}), 422, "tea, milk")
    assert client.post(f"{BASE}/resume", json=body | {"human_feedback": " tea "}).status_code == 200
    execution.run(job_id, clock.now.replace(year=2027))
    assert client.get(f"{BASE}/status/{job_id}").json()["result"] == "tea"


def test_an_unknown_crew_and_a_job_of_another_crew_are_not_found(
    client: TestClient, storage: Storage, clock: HandSetClock, own_crews: OwnCrews
) -> None:
    own_crews.put("tales")
    job = job_that_is("waiting", storage, clock)
    before = storage.rows()
    for ask in (
        client.get("/amp/nobodys"),
        client.get("/amp/nobodys/inputs"),
        client.post("/amp/nobodys/kickoff", json={"inputs": {}}),
    ):
        assert assert_refused(ask, 404, "There is no crew nobodys; this deployment has research, tales.")
    resume = {"execution_id": job.id, "human_feedback": "", "is_approve": True}
    for ask in (
        client.get(f"/amp/tales/status/{job.id}"),
        client.post(f"/amp/tales/stop/{job.id}"),
        client.post("/amp/tales/resume", json=resume),
    ):
        assert assert_refused(ask, 404, f"There is no job {job.id}.")
    assert storage.rows() == before
    assert_refused(client.get(f"{BASE}/elsewhere"), 404, "There is no GET /amp/research/elsewhere.")


def test_another_tenants_execution_answers_as_one_that_is_none(storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("waiting", storage, clock, tenant="acme")
    before = storage.rows()
    client = TestClient(api_app(storage, clock, anybody("zoo")), raise_server_exceptions=False)

    def answers(job_id: str) -> list[tuple[int, str]]:
        resume = {"execution_id": job_id, "human_feedback": "Fine.", "is_approve": True}
        asked = (
            client.get(f"{BASE}/status/{job_id}"),
            client.post(f"{BASE}/stop/{job_id}"),
            client.post(f"{BASE}/resume", json=resume),
        )
        return [(each.status_code, each.text.replace(job_id, "ID")) for each in asked]

    assert answers(job.id) == answers("0" * 36)
    assert {status for status, _ in answers(job.id)} == {404}
    assert storage.rows() == before


def test_each_call_needs_its_scope(storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("waiting", storage, clock)
    resume = {"execution_id": job.id, "human_feedback": "Fine.", "is_approve": True}
    calls: list[tuple[str, str, Any, Scope]] = [
        ("GET", BASE, None, Scope.READ),
        ("GET", f"{BASE}/inputs", None, Scope.READ),
        ("GET", f"{BASE}/status/{job.id}", None, Scope.READ),
        ("POST", f"{BASE}/kickoff", {"inputs": REQUEST}, Scope.RUN),
        ("POST", f"{BASE}/resume", resume, Scope.RUN),
        ("POST", f"{BASE}/stop/{job.id}", None, Scope.ADMIN),
    ]
    for method, path, body, scope in calls:
        allowed, others = (
            Caller(tenant="local", scopes=scopes) for scopes in (frozenset({scope}), frozenset(Scope) - {scope})
        )
        refused = TestClient(api_app(storage, clock, others)).request(method, path, json=body)
        assert_refused(refused, 403, f"the scope {scope}.")
        assert "insufficient_scope" in refused.headers["www-authenticate"]
        assert TestClient(api_app(storage, clock, allowed)).request(method, path, json=body).status_code == 200
    unknown = TestClient(api_app(storage, clock, None)).get(BASE)
    assert_refused(unknown, 401, "valid token")


HOSTILE = [
    "",
    "{",
    "[]",
    "null",
    "7",
    '"\\ud800"',
    "[" * 100_000,
    '{"inputs": ' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}",
    json.dumps({"inputs": [1]}),
    json.dumps({"inputs": {"topic": "\x00", "language": "en"}}),
    '{"inputs": {"topic": "\\ud800", "language": "en"}}',
    '{"inputs": {"topic": "x", "language": "\\ud800"}}',
    '{"inputs": {"\\ud800": "x"}}',
    '{"inputs": {"topic": ' + "9" * 5000 + ', "language": "en"}}',
    '{"inputs": {"topic": 1e999, "language": NaN}}',
    json.dumps({"inputs": {"topic": ["x"], "language": {}}}),
    json.dumps({"inputs": REQUEST, "webhooks": "\x00"}),
    json.dumps({"execution_id": 7, "is_approve": True}),
    json.dumps({"execution_id": "x" * 10_000, "is_approve": True}),
    '{"execution_id": "\\ud800", "is_approve": true}',
    json.dumps({"execution_id": "\x00", "is_approve": True}),
    json.dumps({"execution_id": "x", "is_approve": "perhaps"}),
    json.dumps({"execution_id": "x", "task_id": [], "is_approve": True}),
    json.dumps({"execution_id": "x", "human_feedback": "x" * 20_001, "is_approve": True}),
    "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_body_is_refused_and_writes_nothing(client: TestClient, storage: Storage, body: str) -> None:
    for path in ("kickoff", "resume"):
        answer = client.post(f"{BASE}/{path}", content=body, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500, (path, answer.text)
        assert_refused(answer, answer.status_code, "")
    assert storage.rows() == []


def test_the_clock_may_jump_back(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("running", storage, clock)
    clock.pass_(hours=-1)
    assert client.get(f"{BASE}/status/{job.id}").json()["execution_time"] == 0.0
