"""POST /crewai/run/async over the real store and queue; how many jobs may be unfinished."""

import uuid
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import (
    INPUT,
    REQUEST,
    ScriptedCrew,
    anybody,
    api_app,
    assert_problem,
    assert_untouched,
    job_row,
    run_app,
    submission_of,
    unreachable,
)

if TYPE_CHECKING:
    pass


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return TestClient(api_app(storage, clock), raise_server_exceptions=False)


def test_a_202_is_a_committed_row_and_one_message_with_only_the_id(client: TestClient, storage: Storage) -> None:
    response = client.post("/crewai/run/async", json=REQUEST)
    job_id = response.json()["job_id"]
    assert response.status_code == 202
    path = f"/crewai/status/{job_id}"
    assert response.json() == {"job_id": job_id, "status": "pending", "status_url": f"http://testserver{path}"}
    assert response.headers["location"] == path
    assert int(response.headers["retry-after"]) > 0
    assert str(uuid.UUID(job_id)) == job_id
    assert job_row(storage, job_id)["status"] == {"S": "pending"}
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [job_id]


@pytest.mark.parametrize("topic", ["x" * 2000, "神经网络 🧠", "الشبكات العصبية", '"}]{{topic}}\\'])
def test_any_text_of_up_to_2000_characters_is_a_topic(client: TestClient, topic: str) -> None:
    response = client.post("/crewai/run/async", json={"topic": topic, "language": "zh-Hant-TW", "crew": "research"})
    assert response.status_code == 202
    status = client.get(response.headers["location"]).json()
    assert status["inputs"] == {"topic": topic, "language": "zh-Hant-TW"}


def test_a_repeat_under_an_idempotency_key_is_the_same_job(client: TestClient, storage: Storage) -> None:
    first, second = (
        client.post("/crewai/run/async", json=REQUEST, headers={"Idempotency-Key": "k-1"}) for _ in range(2)
    )
    assert (second.status_code, second.json()) == (202, first.json())
    job_row(storage, first.json()["job_id"])  # the only one


def test_another_body_under_the_same_key_is_a_conflict(client: TestClient, storage: Storage) -> None:
    headers = {"Idempotency-Key": "k-1"}
    job_id = client.post("/crewai/run/async", json=REQUEST, headers=headers).json()["job_id"]
    before = storage.rows()
    response = client.post("/crewai/run/async", json=REQUEST | {"topic": "another"}, headers=headers)
    assert_problem(response, 422, "idempotency_conflict")
    assert storage.rows() == before
    assert {message["Body"] for message in storage.messages(storage.queue_url)} == {job_id}


def test_two_tenants_may_use_the_same_key(client: TestClient, storage: Storage) -> None:
    other = TestClient(api_app(storage, anonymous=anybody("other")))
    mine, theirs = (
        c.post("/crewai/run/async", json=REQUEST, headers={"Idempotency-Key": "k"}).json() for c in (client, other)
    )
    assert mine["job_id"] != theirs["job_id"]


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_an_idempotency_key_has_1_to_255_characters(client: TestClient, storage: Storage, key: str) -> None:
    response = client.post("/crewai/run/async", json=REQUEST, headers={"Idempotency-Key": key})
    body = assert_problem(response, 422, "invalid_request")
    assert [error["field"] for error in body["errors"]] == ["Idempotency-Key"]
    assert_untouched(storage)


def test_a_table_that_does_not_answer_is_503_and_nothing_is_accepted(storage: Storage) -> None:
    with unreachable("dynamodb") as dynamodb:
        client = TestClient(api_app(storage._replace(dynamodb=dynamodb)), raise_server_exceptions=False)
        for response in (client.post("/crewai/run/async", json=REQUEST), client.get(f"/crewai/status/{uuid.uuid4()}")):
            assert_problem(response, 503, "unavailable")
            assert int(response.headers["retry-after"]) > 0
    assert_untouched(storage)


def test_a_bell_that_cannot_be_rung_does_not_undo_the_commit(storage: Storage) -> None:
    with unreachable("sqs") as sqs:
        response = TestClient(api_app(storage._replace(sqs=sqs))).post("/crewai/run/async", json=REQUEST)
    assert response.status_code == 202
    assert "due_at" in job_row(storage, response.json()["job_id"])


# ---- too many at a time


def test_one_unfinished_job_too_many_is_429_and_says_when_to_come_again(storage: Storage) -> None:
    submission_of(storage).accept("local", INPUT)
    before, crew = storage.rows(), ScriptedCrew()
    for path, app in (
        ("/crewai/run", run_app(storage, crew, most_unfinished=1)),
        ("/crewai/run/async", api_app(storage, most_unfinished=1)),
    ):
        response = TestClient(app).post(path, json=REQUEST)
        assert_problem(response, 429, "too_many_jobs")
        assert int(response.headers["retry-after"]) > 0
    assert (storage.rows(), storage.messages(storage.queue_url), crew.given) == (before, [], [])


def test_a_repeat_is_answered_though_there_are_too_many(storage: Storage) -> None:
    client = TestClient(api_app(storage, most_unfinished=1))
    first = client.post("/crewai/run/async", json=REQUEST, headers={"Idempotency-Key": "k"})
    assert client.post("/crewai/run/async", json=REQUEST).status_code == 429
    again = client.post("/crewai/run/async", json=REQUEST, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (202, first.json())
    client.post(f"/crewai/jobs/{first.json()['job_id']}/cancel")
    assert client.post("/crewai/run/async", json=REQUEST).status_code == 202
