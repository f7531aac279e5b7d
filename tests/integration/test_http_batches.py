"""Batches over the real store and queue."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders
from starlette.testclient import TestClient

from crewrelay.http.body import LARGEST_BATCH
from crewrelay.jobs.access import Caller
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.batch import subject_id
from crewrelay.jobs.records.job import Job
from tests.support.aws import aws_client
from tests.support.bill import Bill
from tests.support.fixtures import Figure, HandSetClock, Storage
from tests.support.http_apps import (
    ANSWER,
    LOCAL,
    POLICY,
    REQUEST,
    anybody,
    api_app,
    assert_problem,
    assert_untouched,
    notifier_of,
    unreachable,
)
from tests.support.stored_jobs import FAILURE
from tests.support.subscribed import FOREVER, ScriptedPost

KEY = {"Idempotency-Key": "one"}
BAD = {"topic": "neural networks", "language": "english"}


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return TestClient(api_app(storage, clock), raise_server_exceptions=False)


def item(custom_id: str | None = None, **changes: object) -> dict[str, Any]:
    return REQUEST | ({} if custom_id is None else {"custom_id": custom_id}) | changes


def submit(client: TestClient, *items: Any, **headers: str) -> dict[str, Any]:
    return asking(client, {}, *items, **headers)


def asking(client: TestClient, webhook: Mapping[str, Any], *items: Any, **headers: str) -> dict[str, Any]:
    """Submit with a webhook for the batch."""
    response = client.post("/crewai/run/batch", json={"items": list(items), **webhook}, headers=headers)
    assert response.status_code == 202, response.text
    assert response.headers["location"] in response.json()["batch_url"]
    answer: dict[str, Any] = response.json()
    return answer


def end(storage: Storage, clock: HandSetClock, job_id: str, how: str, tenant: str = "local") -> Job:
    store = storage.store(clock)
    (job,) = store.jobs([job_id], tenant)
    running = transitions.claim(job, "me", "crew-1", clock(), POLICY)
    store.save(job, running)
    if how == "completed":
        store.put_answer(running, ANSWER)
    ended = {
        "running": running,
        "completed": transitions.complete(running, clock()),
        "failed": transitions.fail(running, FAILURE, clock()),
    }[how]
    store.save(running, ended)
    return ended


def lines(client: TestClient, url: str) -> list[dict[str, Any]]:
    """Of all windows."""
    found = []
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/jsonl"
        found += [json.loads(line) for line in response.text.splitlines()]
        url = response.links["next"]["url"] if "link" in response.headers else ""
    return found


def test_each_item_becomes_a_job_that_is_rung_for(client: TestClient, storage: Storage) -> None:
    crew = {"crew": "research", "inputs": REQUEST, "custom_id": "by crew"}
    answer = submit(client, item("first"), item(topic="another"), crew)
    assert answer["accepted"] == 3
    outcomes = answer["items"]
    assert [(one["index"], one["custom_id"], one["status"]) for one in outcomes] == [
        (0, "first", "pending"),
        (1, "1", "pending"),
        (2, "by crew", "pending"),
    ]
    ids = [one["job_id"] for one in outcomes]
    assert sorted(message["Body"] for message in storage.messages(storage.queue_url)) == sorted(ids)
    statuses = [client.get(f"/crewai/status/{job_id}").json() for job_id in ids]
    assert [status["inputs"]["topic"] for status in statuses] == ["neural networks", "another", "neural networks"]
    assert {status["batch"] for status in statuses} == {answer["batch_id"]}


def test_a_bad_item_is_told_what_is_wrong_and_spoils_no_other(client: TestClient) -> None:
    bad: list[Any] = [
        BAD,
        item("x" * 65),
        item("é"),
        item(custom_id=7),  # type: ignore[arg-type]
        item("first"),
        "no object",
        None,
        item(topic="x" * 1_000_000),
        {"crew": "unheard-of", "inputs": {}},
        item(unknown=1),
        {},
        item(topic="\ud800"),
    ]
    fields = [["language"], ["custom_id"], ["custom_id"], ["custom_id"], ["custom_id"], [""], [""], ["topic"]]
    fields += [["crew"], ["unknown"], ["topic", "language"], ["topic"]]
    body = json.dumps({"items": [item("first"), *bad, item("last")]})
    response = client.post("/crewai/run/batch", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 202, response.text
    first, *refused, last = response.json()["items"]
    assert (first["status"], last["status"], response.json()["accepted"]) == ("pending", "pending", 2)
    for outcome, expected in zip(refused, fields, strict=True):
        assert (outcome["job_id"], outcome["problem"]["status"]) == (None, 422)
        assert outcome["problem"]["type"] == "urn:crewrelay:problem:invalid_request"
        assert [error["field"] for error in outcome["problem"]["errors"]] == expected
        assert outcome["problem"]["remedy"]
    assert "item 0" in refused[4]["problem"]["errors"][0]["message"]
    batch = client.get(response.json()["batch_url"]).json()
    assert (batch["counts"]["total"], batch["counts"]["rejected"], batch["counts"]["pending"]) == (14, 12, 2)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"items": [item() for _ in range(1001)]}, 422, "invalid_request"),
        ({"items": []}, 422, "invalid_request"),
        ({"items": {}}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"items": [item()], "more": 1}, 422, "invalid_request"),
        ({"items": [BAD, "nonsense"]}, 422, "invalid_request"),
        ([item()], 400, "not_json"),
        ({"items": [item(topic="x" * LARGEST_BATCH)]}, 413, "body_too_large"),
    ],
    ids=["1,001 items", "none", "no list", "nothing", "more", "all bad", "a list", "too large"],
)
def test_a_request_that_is_no_batch_writes_nothing(
    client: TestClient, storage: Storage, body: Any, status: int, code: str
) -> None:
    assert_problem(client.post("/crewai/run/batch", json=body), status, code)
    assert_untouched(storage)


def test_a_body_that_is_not_in_utf8_writes_nothing(client: TestClient, storage: Storage) -> None:
    body = json.dumps({"items": [item(topic="ü")]}, ensure_ascii=False).encode("latin-1")
    response = client.post("/crewai/run/batch", content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 400, "not_json")
    assert_untouched(storage)


def test_other_requests_are_as_small_as_before(client: TestClient, storage: Storage) -> None:
    assert_problem(client.post("/crewai/run/async", json=item(topic="x" * 300_000)), 413, "body_too_large")
    assert_untouched(storage)


def test_the_same_key_and_body_give_the_same_jobs_and_another_body_is_refused(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    first = submit(client, item("a"), BAD, item("b"), **KEY)
    end(storage, clock, first["items"][0]["job_id"], "completed")
    before = storage.rows()
    again = submit(client, item("a"), BAD, item("b"), **KEY)
    assert again["batch_id"] == first["batch_id"]
    assert [one["job_id"] for one in again["items"]] == [one["job_id"] for one in first["items"]]
    assert [one["status"] for one in again["items"]] == ["completed", None, "pending"]
    for other in ([item("a"), BAD], [item("a", topic="another"), BAD, item("b")], [item("b"), BAD, item("a")]):
        response = client.post("/crewai/run/batch", json={"items": other}, headers=KEY)
        assert_problem(response, 422, "idempotency_conflict")
    assert storage.rows() == before
    assert submit(client, item("a"), BAD, item("b"))["batch_id"] != first["batch_id"]
    single = client.post("/crewai/run/async", json=REQUEST, headers=KEY).json()["job_id"]
    assert single not in [one["job_id"] for one in first["items"]]


def test_what_the_limit_has_no_room_for_is_told_and_submitted_by_a_repetition(
    storage: Storage, clock: HandSetClock
) -> None:
    client = TestClient(api_app(storage, clock, most_unfinished=3))
    client.post("/crewai/run/async", json=REQUEST)
    items = [item(str(n)) for n in range(4)]
    first = submit(client, *items, **KEY)
    assert [one["status"] for one in first["items"]] == ["pending", "pending", None, None]
    refused = first["items"][2]["problem"]
    assert (refused["type"], refused["status"]) == ("urn:crewrelay:problem:too_many_jobs", 429)
    counts = client.get(first["batch_url"]).json()["counts"]
    assert (counts["pending"], counts["missing"]) == (2, 2)
    client.post(f"{first['batch_url']}/cancel")
    again = submit(client, *items, **KEY)
    assert [one["status"] for one in again["items"]] == ["cancelled", "cancelled", "pending", "pending"]


def test_while_there_is_no_room_a_new_batch_writes_nothing(storage: Storage, clock: HandSetClock) -> None:
    client = TestClient(api_app(storage, clock, most_unfinished=2))
    first = submit(client, item("a"), item("b"), item("c"), **KEY)
    before = storage.rows()
    for headers in ({}, {"Idempotency-Key": "two"}):
        refused = client.post("/crewai/run/batch", json={"items": [item("d")]}, headers=headers)
        assert_problem(refused, 429, "too_many_jobs")
    assert storage.rows() == before
    again = submit(client, item("a"), item("b"), item("c"), **KEY)
    assert again == first


def test_items_that_time_ran_out_for_are_submitted_by_a_repetition(
    storage: Storage, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewrelay.jobs.batches.batches.CHUNK", 2)
    client = TestClient(api_app(storage, clock))

    def slow(**_: object) -> None:
        clock.pass_(seconds=10)

    storage.dynamodb.meta.events.register("before-call.dynamodb.BatchGetItem", slow)
    items = [item(str(n)) for n in range(8)]
    first = submit(client, *items, **KEY)
    storage.dynamodb.meta.events.unregister("before-call.dynamodb.BatchGetItem", slow)
    assert [one["status"] for one in first["items"]] == ["pending"] * 6 + [None] * 2
    assert first["items"][6]["problem"]["status"] == 503
    again = submit(client, *items, **KEY)
    assert again["accepted"] == 8
    assert again["items"][:6] == first["items"][:6]


def test_a_table_that_does_not_answer_is_unavailable_and_accepts_nothing(storage: Storage) -> None:
    with unreachable("dynamodb") as nowhere:
        client = TestClient(api_app(storage._replace(dynamodb=nowhere)), raise_server_exceptions=False)
        response = client.post("/crewai/run/batch", json={"items": [item()]})
    assert_problem(response, 503, "unavailable")
    assert_untouched(storage)


def test_a_batch_counts_its_jobs_by_their_rows(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    answer = submit(client, *(item(str(n)) for n in range(7)), BAD)
    ids = [one["job_id"] for one in answer["items"]]
    for job_id, how in zip(ids, ("completed", "completed", "failed", "running"), strict=False):
        end(storage, clock, job_id, how)
    client.post(f"/crewai/jobs/{ids[4]}/cancel")
    client.delete(f"/crewai/jobs/{ids[1]}")
    batch = client.get(answer["batch_url"]).json()
    counts = {"completed": 1, "failed": 1, "running": 1, "cancelled": 1, "pending": 2, "waiting": 0}
    assert batch["counts"] == counts | {"rejected": 1, "missing": 1, "total": 8}
    assert not batch["finished"]
    ended = client.post(f"{answer['batch_url']}/cancel").json()
    assert ended["finished"]
    assert ended["counts"] == batch["counts"] | {"running": 0, "pending": 0, "cancelled": 4}
    assert client.post(f"{answer['batch_url']}/cancel").json() == ended
    assert client.get(answer["batch_url"]).json() == ended


def test_results_are_lines_of_what_has_ended(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    answer = submit(client, item("a"), item("b"), BAD, item("c"), item("d"))
    assert [line["custom_id"] for line in lines(client, answer["results_url"])] == ["2"]
    ids = {one["custom_id"]: one["job_id"] for one in answer["items"]}
    end(storage, clock, ids["a"], "completed")
    end(storage, clock, ids["c"], "failed")
    end(storage, clock, ids["d"], "running")
    found = {line["custom_id"]: line for line in lines(client, answer["results_url"])}
    assert list(found) == ["a", "2", "c"]
    status = client.get(f"/crewai/status/{ids['a']}").json()
    assert found["a"]["job"] == status | {"answer": None}
    assert found["a"]["job"]["result"] == ANSWER.text
    assert found["c"]["job"]["error"]["message"] == FAILURE.message
    assert found["2"] == {"custom_id": "2", "job": None, "rejection": found["2"]["rejection"]}
    assert found["2"]["rejection"].startswith("language: must be")


def test_results_come_in_windows_that_a_function_can_answer(
    client: TestClient, storage: Storage, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewrelay.http.batches._WINDOW", 2_000)
    answer = submit(client, *(item(str(n)) for n in range(9)))
    for one in answer["items"]:
        end(storage, clock, one["job_id"], "completed")
    assert [line["custom_id"] for line in lines(client, answer["results_url"])] == [str(n) for n in range(9)]
    first = client.get(answer["results_url"])
    assert 1 < len(first.text.splitlines()) < 9
    monkeypatch.setattr("crewrelay.http.batches._WINDOW", 10**9)
    assert "link" not in client.get(answer["results_url"]).headers
    assert client.get(f"{answer['results_url']}?after=9").text == ""
    assert_problem(client.get(f"{answer['results_url']}?after=-1"), 422, "invalid_request")


def test_a_job_that_can_not_be_read_leaves_the_others_results(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    answer = submit(client, item("a"), item("b"))
    for one in answer["items"]:
        end(storage, clock, one["job_id"], "completed")
    (broken, _) = (one["job_id"] for one in answer["items"])
    (result,) = (row for row in storage.rows() if broken in row["pk"]["S"] and "RESULT" in row["sk"]["S"])
    storage.dynamodb.delete_item(TableName=storage.table, Key={"pk": result["pk"], "sk": result["sk"]})
    assert [line["custom_id"] for line in lines(client, answer["results_url"])] == ["b"]


def test_the_jobs_of_a_batch_are_listed_in_pages(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    client.post("/crewai/run/async", json=REQUEST)
    answer = submit(client, *(item(str(n)) for n in range(5)))
    end(storage, clock, answer["items"][2]["job_id"], "failed")
    asked = {"batch": answer["batch_id"], "limit": 2}
    pages = [client.get("/crewai/jobs", params=asked).json()]
    while after := pages[-1]["next_cursor"]:
        pages.append(client.get("/crewai/jobs", params=asked | {"cursor": after}).json())
    found = [job["job_id"] for page in pages for job in page["jobs"]]
    assert sorted(found) == sorted(one["job_id"] for one in answer["items"])
    assert len(pages) == 3
    failed = client.get("/crewai/jobs", params={"batch": answer["batch_id"], "status": "failed"}).json()["jobs"]
    assert [(job["job_id"], job["batch"]) for job in failed] == [(answer["items"][2]["job_id"], answer["batch_id"])]


@pytest.mark.parametrize("caller", [LOCAL, anybody("other")], ids=["nobody's", "another tenant's"])
def test_an_unknown_batch_and_another_tenants_are_the_same(
    client: TestClient, storage: Storage, clock: HandSetClock, caller: Caller
) -> None:
    theirs = submit(client, item("a"))
    asked = "nobodys" if caller is LOCAL else theirs["batch_id"]
    stranger = TestClient(api_app(storage, clock, caller), raise_server_exceptions=False)
    before = storage.rows()
    for method, path in (
        ("GET", f"/crewai/batches/{asked}"),
        ("GET", f"/crewai/batches/{asked}/results"),
        ("POST", f"/crewai/batches/{asked}/cancel"),
        ("GET", f"/crewai/jobs?batch={asked}"),
    ):
        problem = assert_problem(stranger.request(method, path), 404, "unknown_batch")
        assert problem["detail"] == f"There is no batch {asked}."
    assert storage.rows() == before


def test_a_batch_is_counted_at_a_read_unit_an_item(
    client: TestClient, storage: Storage, emulator: str, figure: Figure
) -> None:
    answer = submit(client, *(item(str(number)) for number in range(101)))
    bill = Bill(storage, aws_client("dynamodb", emulator))
    asked, reads, _ = bill.of(lambda: client.get(answer["batch_url"]))
    figure(f"the counts of 101 items: {reads:g} read units, {asked}")
    assert (asked, reads) == ({"dynamodb:GetItem": 1, "dynamodb:BatchGetItem": 2}, 1 + 101)


class Latency:
    """AWS as a client sees it that has all to itself: each request is answered well, after some time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.asked: Counter[str] = Counter()

    def __call__(self, request: Any, **_: Any) -> Any:
        time.sleep(self._seconds)
        operation = request.headers["X-Amz-Target"].decode().partition(".")[2]
        self.asked[operation] += 1
        sent = json.loads(request.body)
        bodies: dict[str, Callable[[], dict[str, Any]]] = {
            "BatchGetItem": lambda: {"Responses": {name: [] for name in sent["RequestItems"]}, "UnprocessedKeys": {}},
            "Query": lambda: {"Count": 0, "ScannedCount": 0},
            "PutItem": lambda: {},
            "SendMessage": lambda: {
                "MessageId": "an-id",
                "MD5OfMessageBody": hashlib.md5(sent["MessageBody"].encode(), usedforsecurity=False).hexdigest(),
            },
        }
        answer: Any = AWSResponse(request.url, 200, HTTPHeaders(), None)
        answer._content = json.dumps(bodies[operation]()).encode()
        return answer


def test_a_thousand_items_fit_the_gateways_time(storage: Storage, figure: Figure) -> None:
    aws: Any = Latency(0.02)
    clients = (storage.dynamodb, storage.sqs)
    for client in clients:
        client.meta.events.register("before-send", aws)
    app = TestClient(api_app(storage, most_unfinished=2000))
    items = [item(f"{number:04}", topic=f"topic {number} " + "x" * 1000) for number in range(1000)]
    begun, cpu = time.monotonic(), time.process_time()
    answer = submit(app, *items, **KEY)
    took, cpu = time.monotonic() - begun, time.process_time() - cpu
    for client in clients:
        client.meta.events.unregister("before-send", aws)
    assert (answer["accepted"], len({one["job_id"] for one in answer["items"]})) == (1000, 1000)
    figure(f"1,000 items, 20 ms a request: {took:.1f} s, {cpu:.1f} s of CPU; {dict(aws.asked)}")
    assert aws.asked == {"PutItem": 1 + 2 * 1000, "SendMessage": 1000, "BatchGetItem": 10, "Query": 11 * 4}
    assert took < 27


HOOK = "https://example.org/hook"


def told_of(storage: Storage, clock: HandSetClock, post: ScriptedPost, batch: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages so far, after a bell for the batch."""
    notifier_of(storage, clock, post).notify(subject_id(batch["batch_id"]), clock() + FOREVER)
    return [json.loads(sent.body) for sent in post.sent]


def test_its_webhook_is_told_when_all_its_items_have_ended(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    batch = asking(client, {"webhook_url": HOOK, "webhook_events": ["batch.completed"]}, item("a"), item("b"), BAD)
    one, two, _ = batch["items"]
    post = ScriptedPost(clock)
    end(storage, clock, one["job_id"], "completed")
    assert told_of(storage, clock, post, batch) == []
    end(storage, clock, two["job_id"], "failed")
    [told] = told_of(storage, clock, post, batch)
    shown = client.get(batch["batch_url"]).json()
    assert (told["type"], told["data"]["counts"]) == ("batch.completed", shown["counts"])
    assert (told["data"]["batch_url"], told["data"]["results_url"]) == (batch["batch_url"], batch["results_url"])
    assert client.get(f"/crewai/jobs/{one['job_id']}/deliveries").json()["webhooks"] == []
    deliveries = f"{batch['batch_url']}/deliveries"
    [kept] = client.get(deliveries).raise_for_status().json()["webhooks"]
    assert (kept["url"], kept["delivered_up_to"], [each["status"] for each in kept["attempts"]]) == (HOOK, 1, [204])
    assert client.post(f"{deliveries}/redeliver").status_code == 202
    assert len(told_of(storage, clock, post, batch)) == 2
    assert len({sent.id for sent in post.sent}) == 1
    assert_problem(client.get("/crewai/batches/unknown/deliveries"), 404, "unknown_batch")
    assert_problem(client.post("/crewai/batches/unknown/deliveries/redeliver"), 404, "unknown_batch")


def test_beside_events_of_its_jobs_and_as_a_cloud_event(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    asked = {"webhook_url": HOOK, "webhook_events": ["batch.completed", "cancelled"], "webhook_form": "cloudevents"}
    batch = asking(client, asked, item("a"))
    client.post(f"{batch['batch_url']}/cancel").raise_for_status()
    [told] = told_of(storage, clock, ScriptedPost(clock), batch)
    assert (told["type"], told["subject"]) == ("crewrelay.batch.completed", batch["batch_id"])
    [webhook] = client.get(f"/crewai/jobs/{batch['items'][0]['job_id']}/deliveries").json()["webhooks"]
    assert webhook["events"] == ["cancelled"]


def test_its_webhook_belongs_to_the_request(client: TestClient) -> None:
    asked = {"webhook_url": HOOK, "webhook_events": ["batch.completed"]}
    first = asking(client, asked, item("a"), **KEY)
    assert asking(client, asked, item("a"), **KEY)["batch_id"] == first["batch_id"]
    for other in ({}, asked | {"webhook_url": f"{HOOK}/other"}, {"webhook_url": HOOK}):
        response = client.post("/crewai/run/batch", json={"items": [item("a")], **other}, headers=KEY)
        assert_problem(response, 422, "idempotency_conflict")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"webhook_events": ["batch.completed"]}, "webhook_events"),
        ({"webhook_url": HOOK, "webhook_events": ["batch.failed"]}, "webhook_events.0"),
        ({"webhook_url": "http://10.0.0.1/", "webhook_events": ["batch.completed"]}, "webhook_url"),
    ],
)
def test_a_webhook_that_can_not_be_told_writes_nothing(
    client: TestClient, storage: Storage, body: dict[str, Any], field: str
) -> None:
    problem = assert_problem(client.post("/crewai/run/batch", json={"items": [item()], **body}), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert_untouched(storage)


def test_a_single_job_has_no_batch_to_be_told_of(client: TestClient, storage: Storage) -> None:
    body = REQUEST | {"webhook_url": HOOK, "webhook_events": ["batch.completed"]}
    assert_problem(client.post("/crewai/run/async", json=body), 422, "invalid_request")
    assert_untouched(storage)
