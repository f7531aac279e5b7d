"""A job's events over HTTP: as JSON, as a stream, and through Lambda, whose answers are sent when they are complete."""

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.http.edge import lambda_handler
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.system import utcnow
from tests.support.aws_events import rest_event
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import ANSWER, INPUT, ScriptedCrew, api_app, assert_problem, execution_of, submission_of
from tests.support.waiting import wait_until

TASK = ["task_started", "call", "task_completed"]
WHOLE = ["submitted", "claimed", *TASK, *TASK, "completed"]


class TwoTasks(ScriptedCrew):
    def __init__(self, gate: threading.Event | None = None) -> None:
        super().__init__()
        self._gate = gate

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        for number, name in enumerate(("research", "write"), 1):
            calls.begin_task(name, "Writer", number, 2)
            reply = Reply(body="a reply", model="scripted/one", prompt_tokens=9, completion_tokens=1)
            calls.call(Kind.MODEL, {"number": number}, lambda: reply)  # noqa: B023
            calls.end_task()
            if self._gate:
                self._gate.wait(10)
        return ANSWER


@pytest.fixture
def client(storage: Storage) -> TestClient:
    return TestClient(api_app(storage), raise_server_exceptions=False)


def ran(storage: Storage, gate: threading.Event | None = None) -> str:
    job = submission_of(storage).accept("local", INPUT)
    execution_of(storage, TwoTasks(gate)).run(job.id, utcnow() + timedelta(minutes=5), first_call_is_free=True)
    return job.id


def streamed(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if "id" in lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def test_all_events_of_a_job_and_those_after_a_number(client: TestClient, storage: Storage) -> None:
    job_id = ran(storage)
    path = f"/crewai/jobs/{job_id}/events"
    found = client.get(path).json()
    assert (found["job_id"], found["status"], found["last"]) == (job_id, "completed", len(WHOLE))
    assert [(event["number"], event["event"]) for event in found["events"]] == list(enumerate(WHOLE, 1))
    started, call = found["events"][2:4]
    assert {**started, "at": ""} == {
        "number": 3, "at": "", "event": "task_started", "task": 1, "of": 2, "name": "research", "agent": "Writer"
    }  # fmt: skip
    assert (call["kind"], call["model"], call["prompt_tokens"], call["fence"]) == ("model", "scripted/one", 9, 1)
    assert "key" not in call
    for after in (1, 5, len(WHOLE)):
        rest = client.get(path, params={"after": after}).json()
        assert (rest["events"], rest["last"]) == (found["events"][after:], len(WHOLE))
    page = client.get(path, params={"after": 2, "limit": 3}).json()
    assert (page["last"], [event["number"] for event in page["events"]]) == (5, [3, 4, 5])


def test_the_status_says_how_far_the_crew_has_come(client: TestClient, storage: Storage) -> None:
    nothing = {"completed_tasks": 0, "total_tasks": 0, "current_task": None, "current_agent": None}
    pending = submission_of(storage).accept("local", INPUT)
    assert client.get(f"/crewai/status/{pending.id}").json()["progress"] == nothing
    progress = client.get(f"/crewai/status/{ran(storage)}").json()["progress"]
    assert progress == {
        "completed_tasks": 2, "total_tasks": 2, "current_task": "write", "current_agent": "Writer"
    }  # fmt: skip


def test_a_wait_ends_with_the_next_event(client: TestClient, storage: Storage, gate: threading.Event) -> None:
    job = submission_of(storage).accept("local", INPUT)
    path = f"/crewai/jobs/{job.id}/events"
    at_once = client.get(path, params={"after": 1}).json()
    assert (at_once["events"], at_once["last"], at_once["status"]) == ([], 1, "pending")
    worker = threading.Thread(
        target=lambda: execution_of(storage, TwoTasks(gate)).run(job.id, utcnow() + timedelta(minutes=1))
    )
    worker.start()
    found = client.get(path, params={"after": 1, "wait": 20}).json()
    assert found["events"][0]["event"] == "claimed"
    gate.set()
    worker.join(20)


def test_a_stream_tells_everything_once_and_goes_on_from_the_last_event(
    client: TestClient, storage: Storage, gate: threading.Event
) -> None:
    job = submission_of(storage).accept("local", INPUT)
    worker = threading.Thread(
        target=lambda: execution_of(storage, TwoTasks(gate)).run(job.id, utcnow() + timedelta(minutes=1))
    )
    worker.start()
    path, headers = f"/crewai/jobs/{job.id}/events", {"Accept": "text/event-stream"}
    wait_until(lambda: client.get(path).json()["last"] >= 4, within=20)
    threading.Timer(0.5, gate.set).start()
    answered = client.get(path, headers=headers)
    worker.join(20)
    assert answered.headers["content-type"].startswith("text/event-stream")
    assert [(number, what) for number, what, _ in streamed(answered.text)] == list(enumerate(WHOLE, 1))
    rest = client.get(path, headers=headers | {"Last-Event-ID": "3"})
    assert streamed(rest.text) == streamed(answered.text)[3:]
    over = client.get(path, headers=headers | {"Last-Event-ID": str(len(WHOLE))})
    assert (over.status_code, over.content) == (204, b"")  # a browser asks no more


def test_through_lambda_a_stream_ends_with_the_first_events(storage: Storage, main_loop: None) -> None:
    handler, job = lambda_handler(api_app(storage)), submission_of(storage).accept("local", INPUT)
    event: Any = rest_event("GET", f"/crewai/jobs/{job.id}/events")
    event["headers"]["Accept"] = "text/event-stream"
    event["multiValueHeaders"]["Accept"] = ["text/event-stream"]
    answered = handler(event, None)
    assert (answered["statusCode"], answered["isBase64Encoded"]) == (200, False)
    assert [what for _, what, _ in streamed(answered["body"])] == ["submitted"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ({"after": "-1"}, {}),
        ({"after": "x"}, {}),
        ({"limit": "0"}, {}),
        ({"limit": "1001"}, {}),
        ({"wait": "-1"}, {}),
        ({}, {"Accept": "text/event-stream", "Last-Event-ID": "x"}),
        ({}, {"Accept": "text/event-stream", "Last-Event-ID": "9" * 50}),
    ],
)
def test_what_can_not_be_asked_is_told(
    client: TestClient, storage: Storage, query: dict[str, str], headers: dict[str, str]
) -> None:
    job = submission_of(storage).accept("local", INPUT)
    answered = client.get(f"/crewai/jobs/{job.id}/events", params=query, headers=headers)
    assert_problem(answered, 422, "invalid_request")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_an_unknown_job_has_no_events(client: TestClient, accept: str) -> None:
    assert_problem(client.get("/crewai/jobs/nobodys/events", headers={"Accept": accept}), 404, "unknown_job")


def test_events_after_the_end_are_none(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    store, job = storage.store(utcnow), submission_of(storage).accept("local", INPUT)
    store.save(job, transitions.cancel(job, utcnow()))
    found = client.get(f"/crewai/jobs/{job.id}/events", params={"after": 1000, "wait": 20}).json()
    assert (found["events"], found["last"], found["status"]) == ([], 1000, "cancelled")
