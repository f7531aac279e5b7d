"""A job that waits for a human, and the answer to it, over the real store and queue."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import QUESTION_ID, api_app, assert_problem, job_that_is

YES = {"id": QUESTION_ID, "feedback": "Shorter, please.", "option": "yes"}


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return TestClient(api_app(storage, clock), raise_server_exceptions=False)


@pytest.fixture
def path(storage: Storage, clock: HandSetClock) -> str:
    return f"/crewai/jobs/{job_that_is('waiting', storage, clock).id}"


def status_of(client: TestClient, path: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(path.replace("jobs", "status")).json()
    return found


def test_the_status_of_a_waiting_job_has_its_question(client: TestClient, path: str, clock: HandSetClock) -> None:
    found = status_of(client, path)
    asked, expires = (datetime.fromisoformat(found["waiting"].pop(name)) for name in ("asked_at", "expires_at"))
    assert (asked, expires) == (clock.now, clock.now + timedelta(days=7))
    assert (found["status"], found["result"]) == ("waiting", None)
    assert found["waiting"] == {
        "id": QUESTION_ID,
        "message": "Is it good?",
        "task": "writing",
        "output": "A draft.",
        "options": ["yes", "no"],
        "default": "yes",
    }


def test_an_answer_resumes_the_job_and_rings_for_it(client: TestClient, path: str, storage: Storage) -> None:
    response = client.post(f"{path}/resume", json=YES)
    assert (response.status_code, response.json()["status"], response.json()["waiting"]) == (200, "pending", None)
    assert response.json() == status_of(client, path)
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [path.rpartition("/")[2]]
    (call,) = client.get(f"{path}/calls").json()["calls"]
    assert (call["kind"], call["model"]) == ("human", None)


def test_the_same_answer_again_is_200_and_another_409(client: TestClient, path: str) -> None:
    first = client.post(f"{path}/resume", json=YES)
    again = client.post(f"{path}/resume", json=YES)
    assert (again.status_code, again.json()) == (200, first.json())
    other = client.post(f"{path}/resume", json=YES | {"option": "no"})
    assert_problem(other, 409, "already_answered")


@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed", "cancelled"])
def test_a_job_that_does_not_wait_takes_no_answer(
    client: TestClient, storage: Storage, clock: HandSetClock, status: str
) -> None:
    job = job_that_is(status, storage, clock)
    before = storage.rows()
    assert_problem(client.post(f"/crewai/jobs/{job.id}/resume", json=YES), 409, "not_waiting")
    assert storage.rows() == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (YES | {"id": "d#0"}, 409, "not_waiting"),
        (YES | {"id": ""}, 409, "not_waiting"),
        (YES | {"id": "x" * 101}, 422, "invalid_request"),
        (YES | {"id": None}, 422, "invalid_request"),
        (YES | {"option": "perhaps"}, 422, "invalid_request"),
        (YES | {"feedback": "x" * 20_001}, 422, "invalid_request"),
        (YES | {"feedback": 7}, 422, "invalid_request"),
        (YES | {"answer": "yes"}, 422, "invalid_request"),
        ({"id": QUESTION_ID}, 422, "invalid_request"),
        ([], 400, "not_json"),
    ],
)
def test_what_is_no_answer_is_refused_and_writes_nothing(
    client: TestClient, path: str, storage: Storage, body: object, status: int, code: str
) -> None:
    before = storage.rows()
    problem = assert_problem(client.post(f"{path}/resume", json=body), status, code)
    assert "perhaps" not in problem["detail"] or "yes, no" in problem["detail"]
    assert storage.rows() == before
    assert storage.messages(storage.queue_url) == []


def test_an_unknown_job_takes_no_answer(client: TestClient) -> None:
    assert_problem(client.post("/crewai/jobs/nobodys/resume", json=YES), 404, "unknown_job")
