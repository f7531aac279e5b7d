"""Cancel and retry over the real store and queue."""

import uuid
from datetime import datetime

import pytest
from starlette.testclient import TestClient

from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import (
    REQUEST,
    api_app,
    assert_problem,
    job_that_is,
    unreachable,
)


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return TestClient(api_app(storage, clock), raise_server_exceptions=False)


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_cancelled_job_answers_200_as_its_status_does_the_second_time_too(
    client: TestClient, storage: Storage, clock: HandSetClock, status: str
) -> None:
    job = job_that_is(status, storage, clock)
    clock.pass_(seconds=5)
    response = client.post(f"/crewai/jobs/{job.id}/cancel")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    assert datetime.fromisoformat(response.json()["timestamps"]["finished_at"]) == clock.now
    clock.pass_(seconds=5)
    again = client.post(f"/crewai/jobs/{job.id}/cancel")
    assert (again.status_code, again.json()) == (200, response.json())
    assert client.get(f"/crewai/status/{job.id}").json() == response.json()
    assert storage.messages(storage.queue_url) == []


def test_a_failed_job_that_is_retried_answers_200_and_is_rung_for(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    job = job_that_is("failed", storage, clock)
    response = client.post(f"/crewai/jobs/{job.id}/retry")
    assert (response.status_code, response.json()["status"], response.json()["error"]) == (200, "pending", None)
    assert client.get(f"/crewai/status/{job.id}").json() == response.json()
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [job.id]


@pytest.mark.parametrize(("status", "rung"), [("pending", True), ("running", False)])
def test_a_job_under_way_that_is_retried_is_left_to_go_on(
    client: TestClient, storage: Storage, clock: HandSetClock, status: str, rung: bool
) -> None:
    job = job_that_is(status, storage, clock)
    before = storage.rows()
    response = client.post(f"/crewai/jobs/{job.id}/retry")
    assert (response.status_code, response.json()["status"]) == (200, status)
    assert storage.rows() == before
    assert len(storage.messages(storage.queue_url)) == rung


@pytest.mark.parametrize(
    ("what", "status"),
    [("cancel", "completed"), ("cancel", "failed"), ("retry", "completed"), ("retry", "cancelled")],
)
def test_what_can_not_be_changed_any_more_is_a_conflict(
    client: TestClient, storage: Storage, clock: HandSetClock, what: str, status: str
) -> None:
    job = job_that_is(status, storage, clock)
    before = storage.rows()
    body = assert_problem(client.post(f"/crewai/jobs/{job.id}/{what}"), 409, "job_finished")
    assert status in body["detail"]
    assert storage.rows() == before
    assert storage.messages(storage.queue_url) == []


@pytest.mark.parametrize("what", ["cancel", "retry"])
@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed", "cancelled"])
def test_another_tenants_job_can_be_neither_cancelled_nor_retried_nor_told_from_none(
    client: TestClient, storage: Storage, clock: HandSetClock, what: str, status: str
) -> None:
    job, nobodys = job_that_is(status, storage, clock, tenant="other"), str(uuid.UUID(int=0))
    before = storage.rows()
    theirs = assert_problem(client.post(f"/crewai/jobs/{job.id}/{what}"), 404, "unknown_job")
    none = assert_problem(client.post(f"/crewai/jobs/{nobodys}/{what}"), 404, "unknown_job")
    assert theirs["detail"].replace(job.id, nobodys) == none["detail"]
    assert storage.rows() == before
    assert storage.messages(storage.queue_url) == []


@pytest.mark.parametrize("what", ["cancel", "retry"])
def test_cancel_and_retry_take_posts_only_and_say_when_the_table_does_not_answer(storage: Storage, what: str) -> None:
    path = f"/crewai/jobs/{uuid.UUID(int=0)}/{what}"
    with unreachable("dynamodb") as dynamodb:
        client = TestClient(api_app(storage._replace(dynamodb=dynamodb)), raise_server_exceptions=False)
        assert_problem(client.post(path), 503, "unavailable")
        refused = client.get(path)
    assert_problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_job_that_has_ended_is_deleted_once_and_its_key_may_be_used_again(
    client: TestClient, storage: Storage, clock: HandSetClock, status: str
) -> None:
    job = job_that_is(status, storage, clock)
    response = client.delete(f"/crewai/jobs/{job.id}")
    assert (response.status_code, response.content) == (204, b"")
    assert storage.rows() == []
    assert_problem(client.delete(f"/crewai/jobs/{job.id}"), 404, "unknown_job")
    assert_problem(client.get(f"/crewai/status/{job.id}"), 404, "unknown_job")
    key = {"Idempotency-Key": "one"}
    job_id = client.post("/crewai/run/async", json=REQUEST, headers=key).json()["job_id"]
    other = REQUEST | {"topic": "another"}
    assert_problem(client.post("/crewai/run/async", json=other, headers=key), 422, "idempotency_conflict")
    client.post(f"/crewai/jobs/{job_id}/cancel")
    assert client.delete(f"/crewai/jobs/{job_id}").status_code == 204
    again = client.post("/crewai/run/async", json=other, headers=key)
    assert (again.status_code, again.json()["job_id"]) == (202, job_id)
    assert client.get(f"/crewai/status/{job_id}").json()["inputs"] == other


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_job_that_has_not_ended_is_not_deleted_and_its_caller_told_what_to_do(
    client: TestClient, storage: Storage, clock: HandSetClock, status: str
) -> None:
    job = job_that_is(status, storage, clock)
    before = storage.rows()
    problem = assert_problem(client.delete(f"/crewai/jobs/{job.id}"), 409, "job_unfinished")
    assert status in problem["detail"]
    assert "Cancel the job first" in problem["remedy"]
    assert storage.rows() == before


@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed", "cancelled"])
def test_another_tenants_job_can_not_be_deleted_nor_told_from_none(
    client: TestClient, storage: Storage, clock: HandSetClock, status: str
) -> None:
    job, nobodys = job_that_is(status, storage, clock, tenant="other"), str(uuid.UUID(int=0))
    before = storage.rows()
    theirs = assert_problem(client.delete(f"/crewai/jobs/{job.id}"), 404, "unknown_job")
    none = assert_problem(client.delete(f"/crewai/jobs/{nobodys}"), 404, "unknown_job")
    assert theirs["detail"].replace(job.id, nobodys) == none["detail"]
    assert storage.rows() == before
