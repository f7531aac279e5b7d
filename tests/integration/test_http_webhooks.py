"""Webhooks over HTTP: how one is asked for, what is refused, deliveries, the secret; on DynamoDB and SQS."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crewrelay.aws.queue import SqsQueue
from crewrelay.aws.signing import DynamoSigningSecrets
from crewrelay.aws.subscriptions import DynamoSubscriptions
from crewrelay.catalogue import request
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.webhooks.notifier import Notifier
from crewrelay.outbound.forms import FORMS
from crewrelay.system import new_id
from crewrelay.testing import MemoryDoorbell
from tests.support.doubles.meter import MemoryMeter
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import POLICY, REQUEST, api_app, store_of
from tests.support.subscribed import FOREVER, ScriptedPost

URL = "https://example.org/hook?key=s3cret"
ASKING = REQUEST | {"webhook_url": URL}


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> Iterator[TestClient]:
    with TestClient(api_app(storage, clock), base_url="https://api.example.org") as client:
        yield client


def notified(storage: Storage, clock: HandSetClock, post: ScriptedPost) -> list[str]:
    """Answer every bell of the notifier's queue. Returns the ids of their jobs."""
    queue = SqsQueue(storage.sqs, storage.notify_queue_url)
    subscriptions = DynamoSubscriptions(storage.dynamodb, storage.table, clock)
    secrets = DynamoSigningSecrets(storage.dynamodb, storage.table)
    rest = (MemoryDoorbell(), clock, new_id, bytes, lambda: 0.0, MemoryMeter())
    notifier = Notifier(store_of(storage, clock), subscriptions, secrets, post, FORMS, *rest)
    rung = []
    while records := queue.receive(10):
        for record in records:
            notifier.notify(record["body"], clock() + FOREVER)
            rung.append(record["body"])
        queue.delete(records)
    return rung


def test_a_job_that_was_asked_for_with_a_webhook_is_told_of(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    accepted = client.post("/crewai/run/async", json=ASKING).json()
    job_id, post = accepted["job_id"], ScriptedPost(clock, 500)
    assert notified(storage, clock, post) == []
    Intervention(store_of(storage, clock), MemoryDoorbell(), clock, POLICY).cancel("local", job_id)
    assert notified(storage, clock, post) == [job_id]
    body = json.loads(post.sent[0].body)
    assert (body["type"], body["data"]["status_url"]) == ("job.cancelled", accepted["status_url"])
    [webhook] = client.get(f"/crewai/jobs/{job_id}/deliveries").raise_for_status().json()["webhooks"]
    assert webhook == {
        "number": 0,
        "url": URL,
        "events": ["waiting", "completed", "failed", "cancelled"],
        "form": "standard",
        "state": "active",
        "delivered_up_to": 0,
        "next_attempt_at": "2026-01-02T03:04:07Z",
        "attempts": [{"event": 2, "at": "2026-01-02T03:04:05Z", "status": 500, "error": "", "milliseconds": 0}],
    }
    again = client.post(f"/crewai/jobs/{job_id}/deliveries/redeliver")
    assert again.status_code == 202
    assert notified(storage, clock, post) == [job_id]
    ids = [sent.id for sent in post.sent]
    assert ids == ids[:1] * 2
    assert ids[0].startswith(f"msg_{job_id}_0_2_")
    assert client.delete(f"/crewai/jobs/{job_id}").status_code == 204
    assert client.get(f"/crewai/jobs/{job_id}/deliveries").status_code == 404
    assert [row for row in storage.rows() if row["pk"]["S"].startswith("JOB#")] == []


REFUSED: dict[str, dict[str, Any]] = {
    "relative": {"webhook_url": "/hook"},
    "plain http": {"webhook_url": "http://example.org/"},
    "private": {"webhook_url": "https://169.254.169.254/latest"},
    "null": {"webhook_url": None},
    "a number": {"webhook_url": 7},
    "long": {"webhook_url": "https://example.org/" + "a" * 2048},
    "unknown event": {"webhook_url": URL, "webhook_events": ["exploded"]},
    "no events": {"webhook_url": URL, "webhook_events": []},
    "unknown form": {"webhook_url": URL, "webhook_form": "xml"},
    "events alone": {"webhook_events": ["completed"]},
    "form alone": {"webhook_form": "standard"},
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("path", ["/crewai/run/async", "/crewai/run/batch"])
def test_a_bad_webhook_is_refused_and_nothing_is_written(
    client: TestClient, storage: Storage, name: str, path: str
) -> None:
    body = REFUSED[name] | ({"items": [REQUEST]} if "batch" in path else REQUEST)
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert all(error["field"].startswith("webhook_") for error in answer.json()["errors"])
    assert storage.rows() == []


def test_the_same_key_with_another_webhook_is_refused(client: TestClient) -> None:
    key = {"Idempotency-Key": "one"}
    first = client.post("/crewai/run/async", json=ASKING, headers=key)
    again = client.post("/crewai/run/async", json=ASKING, headers=key | {"x-forwarded-proto": "http"})
    assert again.json()["job_id"] == first.json()["job_id"]  # however the API was reached
    other = client.post("/crewai/run/async", json=ASKING | {"webhook_url": "https://other.example.org/"}, headers=key)
    assert other.status_code == 422


def test_a_batch_has_one_webhook_for_all_items_that_have_none(client: TestClient) -> None:
    own = {"webhook_url": "https://own.example.org/", "webhook_events": ["failed"], "webhook_form": "cloudevents"}
    body = {"items": [REQUEST, REQUEST | own], "webhook_url": URL}
    items = client.post("/crewai/run/batch", json=body).raise_for_status().json()["items"]
    jobs = [item["job_id"] for item in items]
    assert all(jobs), items
    found = [client.get(f"/crewai/jobs/{job_id}/deliveries").json()["webhooks"] for job_id in jobs]
    assert [(one["url"], one["form"], len(one["events"])) for [one] in found] == [
        (URL, "standard", 4),
        ("https://own.example.org/", "cloudevents", 1),
    ]


def test_the_secret_is_the_tenants_and_is_replaced_with_an_overlap(client: TestClient) -> None:
    first = client.get("/crewai/webhooks/secret").json()
    assert first["secret"].startswith("whsec_")
    assert client.get("/crewai/webhooks/secret").json() == first
    second = client.post("/crewai/webhooks/secret/rotate").json()
    assert second["secret"] != first["secret"] == second["previous"]
    assert second["previous_until"] == "2026-01-03T03:04:05Z"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/crewai/webhooks/secret"),
        ("POST", "/crewai/webhooks/secret/rotate"),
        ("POST", "/crewai/jobs/an-id/deliveries/redeliver"),
    ],
)
def test_they_need_the_scope_webhooks(storage: Storage, clock: HandSetClock, method: str, path: str) -> None:
    others = Caller(tenant="local", scopes=frozenset(Scope) - {Scope.WEBHOOKS})
    answer = TestClient(api_app(storage, clock, others)).request(method, path)
    assert (answer.status_code, "webhooks" in answer.json()["detail"]) == (403, True)


def test_another_tenants_job_has_no_deliveries_to_see_or_repeat(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    job_id = client.post("/crewai/run/async", json=ASKING).json()["job_id"]
    zoo = TestClient(api_app(storage, clock, Caller(tenant="zoo", scopes=frozenset(Scope))))
    assert zoo.get(f"/crewai/jobs/{job_id}/deliveries").status_code == 404
    assert zoo.post(f"/crewai/jobs/{job_id}/deliveries/redeliver").status_code == 404
    assert zoo.get("/crewai/webhooks/secret").json() != client.get("/crewai/webhooks/secret").json()


def test_networks_that_the_operator_names_are_permitted(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    body = REQUEST | {"webhook_url": "http://127.0.0.1:5678/webhook-waiting/1"}
    assert client.post("/crewai/run/async", json=body).status_code == 422
    monkeypatch.setenv("CREWRELAY_WEBHOOK_NETWORKS", "127.0.0.0/8")
    request._guard.cache_clear()
    try:
        assert client.post("/crewai/run/async", json=body).status_code == 202
    finally:
        request._guard.cache_clear()
