"""GET /crewai/status over the real store, and whose jobs it shows."""

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError
from starlette.testclient import TestClient

from crewrelay import __version__
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import (
    ANSWER,
    INPUT,
    REQUEST,
    api_app,
    assert_problem,
    assert_untouched,
    job_that_is,
    submission_of,
    unreachable,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return TestClient(api_app(storage, clock), raise_server_exceptions=False)


def test_status_of_a_pending_job(client: TestClient, clock: HandSetClock) -> None:
    response = client.post("/crewai/run/async", json=REQUEST)
    status = client.get(response.headers["location"])
    assert status.status_code == 200
    timestamps = status.json().pop("timestamps")
    assert {name: value for name, value in status.json().items() if name != "timestamps"} == {
        "job_id": response.json()["job_id"],
        "status": "pending",
        "batch": None,
        "crew": "research",
        "inputs": REQUEST,
        "result": None,
        "answer": None,
        "result_url": None,
        "sources": [],
        "error": None,
        "waiting": None,
        "progress": {"completed_tasks": 0, "total_tasks": 0, "current_task": None, "current_agent": None},
        "answerable": None,
        "unknown_citations": [],
        "usage": None,
        "receipt": {
            "calls_paid": 0,
            "calls_replayed": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "diverged": 0,
            "cost_usd": 0,
            "attempts": 0,
            "relays": 0,
            "restarts": 0,
        },
        "attempts": 0,
    }
    assert datetime.fromisoformat(timestamps["created_at"]) == clock.now
    assert datetime.fromisoformat(timestamps["expires_at"]) == clock.now + timedelta(days=30)
    assert (timestamps["started_at"], timestamps["finished_at"]) == (None, None)


def test_status_of_a_running_a_completed_and_a_failed_job(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    seen = {}
    for outcome in ("running", "completed", "failed"):
        job = job_that_is(outcome, storage, clock)
        seen[outcome] = client.get(f"/crewai/status/{job.id}").json()
        assert seen[outcome]["status"] == outcome
        assert seen[outcome]["attempts"] == 1
        assert seen[outcome]["timestamps"]["started_at"]
    assert (seen["running"]["result"], seen["running"]["error"]) == (None, None)
    assert not seen["running"]["timestamps"]["finished_at"]
    assert seen["completed"]["result"] == seen["completed"]["answer"] == ANSWER.text
    assert seen["completed"]["sources"] == [source.model_dump() for source in ANSWER.sources]
    assert seen["completed"]["usage"] == ANSWER.usage.model_dump(mode="json")
    assert seen["failed"]["error"] == {"type": "no_model", "message": "The model is gone.", "retryable": False}
    assert seen["failed"]["timestamps"]["finished_at"]


@pytest.mark.parametrize("outcome", ["pending", "running", "completed", "failed", "cancelled"])
def test_a_job_under_way_says_when_to_look_again(
    client: TestClient, storage: Storage, clock: HandSetClock, outcome: str
) -> None:
    job = job_that_is(outcome, storage, clock)
    retry_after = client.get(f"/crewai/status/{job.id}").headers.get("retry-after")
    assert (retry_after is not None and int(retry_after) > 0) is (outcome in ("pending", "running"))


def test_head_answers_as_get_without_a_body(client: TestClient) -> None:
    location = client.post("/crewai/run/async", json=REQUEST).headers["location"]
    for path in (location, f"/crewai/status/{uuid.UUID(int=0)}", "/", "/health", "/docs", "/openapi.json"):
        head, get = client.head(path), client.get(path)
        own = {"x-correlation-id": ""}
        assert (head.status_code, dict(head.headers) | own) == (get.status_code, dict(get.headers) | own)
        assert head.content == b""


def test_the_root_says_what_this_is_and_where_to_read_on(client: TestClient) -> None:
    answer = client.get("/").json()
    assert (answer["name"], answer["version"]) == ("crewrelay", __version__)
    assert {name: url.removeprefix("http://testserver") for name, url in answer["links"].items()} == {
        "docs": "/docs",
        "openapi": "/openapi.json",
        "health": "/health",
    }
    assert all(client.get(url).status_code == 200 for url in answer["links"].values())


def test_status_takes_no_post(client: TestClient) -> None:
    response = client.post(f"/crewai/status/{uuid.uuid4()}", json=REQUEST)
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD"


def test_health_asks_nothing_of_the_table(storage: Storage) -> None:
    with unreachable("dynamodb") as dynamodb:
        response = TestClient(api_app(storage._replace(dynamodb=dynamodb))).get("/health")
    assert (response.status_code, response.json()["status"]) == (200, "ok")


def test_another_tenants_job_does_not_exist(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    job = submission_of(storage, clock).accept("other", INPUT)
    theirs = client.get(f"/crewai/status/{job.id}")
    nobodys = client.get(f"/crewai/status/{uuid.UUID(int=0)}")
    body = assert_problem(theirs, 404, "unknown_job")
    assert body["detail"].replace(job.id, str(uuid.UUID(int=0))) == nobodys.json()["detail"]


def test_an_expired_job_does_not_exist(client: TestClient, clock: HandSetClock) -> None:
    location = client.post("/crewai/run/async", json=REQUEST).headers["location"]
    clock.pass_(days=30)
    assert_problem(client.get(location), 404, "unknown_job")


@pytest.mark.parametrize(
    "job_id",
    [
        pytest.param(str(uuid.UUID(int=1)), id="nobody's"),
        pytest.param("x" * 300, id="300 characters"),
        pytest.param("%00", id="NUL"),
        pytest.param("%20", id="blank"),
        pytest.param("%ff", id="not UTF-8"),
        pytest.param("日本語-😀", id="unicode"),
        pytest.param("%27%20OR%201=1", id="quotes"),
        pytest.param(f"JOB%23{uuid.UUID(int=1)}", id="a key of the table"),
    ],
)
def test_any_other_job_id_is_unknown(client: TestClient, storage: Storage, job_id: str) -> None:
    assert_problem(client.get(f"/crewai/status/{job_id}"), 404, "unknown_job")
    assert_untouched(storage)


def test_a_job_id_longer_than_a_key_may_be_is_unknown_too(storage: Storage) -> None:
    class Strict:
        """Refuses what DynamoDB refuses and its emulator does not: a partition key of more than 2,048 bytes."""

        def __getattr__(self, name: str) -> Any:
            return getattr(storage.dynamodb, name)

        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803
            if any(len(key["pk"]["S"].encode()) > 2048 for key in RequestItems[storage.table]["Keys"]):
                message = "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size"
                raise ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "BatchGetItem")
            return storage.dynamodb.batch_get_item(RequestItems=RequestItems)

    client = TestClient(api_app(storage._replace(dynamodb=cast("DynamoDBClient", Strict()))))
    assert_problem(client.get(f"/crewai/status/{'x' * 3000}"), 404, "unknown_job")
