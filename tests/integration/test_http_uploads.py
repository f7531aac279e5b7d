"""Batches of files over HTTP: a presigned form on AWS, the body on one machine."""

import base64
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.testclient import TestClient

from crewrelay.catalogue.drafts import read_line
from crewrelay.events.upload_bells import batch_of
from crewrelay.http.api import create_api
from crewrelay.http.long_poll import LongPoll
from crewrelay.http.services import Services
from crewrelay.jobs.batches.batches import MOST_UPLOADS, Batches
from crewrelay.jobs.batches.uploads import Uploads
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.records.batch import CHUNK, LARGEST_FILE, BatchItem
from crewrelay.jobs.submission import Submission
from crewrelay.sqlite.batches import SqliteBatches
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.doorbell import SqliteDoorbell
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.sqlite.uploads import UPLOADS, DueUploads, FolderUploads
from crewrelay.system import new_id
from tests.support.aws import aws_client
from tests.support.bill import Bill
from tests.support.fixtures import Figure, HandSetClock, Storage
from tests.support.http_apps import LOCAL, POLICY, api_app, assert_problem, uploads_of
from tests.support.uploads import INVOCATION, line

JSONL = {"Content-Type": "application/jsonl"}
LINES = b"\n".join([*(line(f"n{number}") for number in range(30)), b"no JSON"])


def created(client: TestClient, content: bytes = b"", /, **headers: str) -> dict[str, Any]:
    response = client.post("/crewai/batches", content=content, headers=headers)
    assert response.status_code == 201, response.text
    assert response.headers["location"] in response.json()["batch_url"]
    answer: dict[str, Any] = response.json()
    return answer


def status(client: TestClient, batch: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(batch["batch_url"]).raise_for_status().json()
    return answer


def results(client: TestClient, batch: dict[str, Any]) -> list[dict[str, Any]]:
    """Of all windows."""
    found, url = list[dict[str, Any]](), batch["results_url"]
    while url:
        response = client.get(url).raise_for_status()
        found += [json.loads(each) for each in response.text.splitlines()]
        url = response.links.get("next", {}).get("url")
    return found


# ---- on AWS


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return TestClient(api_app(storage, clock), raise_server_exceptions=False)


def send(batch: dict[str, Any], content: bytes) -> httpx.Response:
    return httpx.post(batch["upload_url"], data=batch["upload_fields"], files={"file": content}, trust_env=False)


def work(storage: Storage, clock: HandSetClock) -> int:
    """Answer the bells in the intake queue. Returns how many there were."""
    messages = storage.messages(storage.intake_queue_url)
    for message in messages:
        storage.sqs.delete_message(QueueUrl=storage.intake_queue_url, ReceiptHandle=message["ReceiptHandle"])
        batch_id = batch_of(message["Body"])
        assert batch_id
        uploads_of(storage, clock).answer(batch_id, clock() + INVOCATION)
    return len(messages)


def test_on_aws_a_file_is_sent_to_the_bucket_and_its_lines_become_jobs(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    batch = created(client)
    assert status(client, batch)["state"] == "expected"
    assert send(batch, LINES).status_code in (200, 204)
    assert work(storage, clock) == 0
    assert client.post(batch["start_url"]).json()["state"] == "expected"
    assert work(storage, clock) == 1
    told = status(client, batch)
    assert (told["state"], told["finished"], told["bytes"], told["bytes_read"]) == (
        "submitted",
        False,
        len(LINES),
        len(LINES),
    )
    counts = told["counts"]
    assert (counts["total"], counts["pending"], counts["rejected"], counts["missing"]) == (31, 30, 1, 0)
    assert storage.s3.list_objects_v2(Bucket=storage.bucket, Prefix="uploads/")["KeyCount"] == 0
    assert results(client, batch) == [
        {"custom_id": "30", "job": None, "rejection": "line 31: is not JSON"},
    ]
    assert client.post(f"{batch['batch_url']}/cancel").json()["state"] == "cancelling"
    assert work(storage, clock) == 1
    told = status(client, batch)
    assert (told["state"], told["finished"], told["counts"]["cancelled"]) == ("cancelled", True, 30)
    assert [one["custom_id"] for one in results(client, batch)] == [*(f"n{n}" for n in range(30)), "30"]


def test_on_aws_the_form_limits_the_size_and_the_place(client: TestClient) -> None:
    batch = created(client)
    policy = json.loads(base64.b64decode(batch["upload_fields"]["policy"]))
    assert ["content-length-range", 1, LARGEST_FILE] in policy["conditions"]
    assert {"key": f"uploads/{batch['batch_id']}.jsonl"} in policy["conditions"]


def test_on_aws_lines_in_the_body_are_referred_to_the_upload(client: TestClient, storage: Storage) -> None:
    response = client.post("/crewai/batches", content=LINES, headers=JSONL)
    assert "upload_url" in assert_problem(response, 422, "invalid_request")["detail"]
    assert storage.rows() == []


def test_the_same_request_again_is_the_same_batch_with_a_fresh_form(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    key = {"Idempotency-Key": "monday"}
    first, second = created(client, b"", **key), created(client, b"{}", **key)
    assert first["batch_id"] == second["batch_id"]
    send(second, line("one"))
    client.post(first["start_url"])
    work(storage, clock)
    third = created(client, b"", **key)
    assert (third["batch_id"], third["state"], third["upload_url"]) == (first["batch_id"], "submitted", None)
    response = client.post("/crewai/run/batch", json={"items": [json.loads(line("one"))]}, headers=key)
    assert_problem(response, 422, "idempotency_conflict")


def test_a_file_that_was_never_sent_is_said_to_be_missing(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    batch = created(client)
    client.post(batch["start_url"])
    work(storage, clock)
    assert status(client, batch)["state"] == "expected"
    clock.pass_(seconds=3600)
    client.post(batch["start_url"])
    work(storage, clock)
    told = status(client, batch)
    assert (told["state"], told["finished"], told["error"]["type"]) == ("failed", True, "invalid_upload")
    assert_problem(client.post("/crewai/batches/nobodys/start"), 404, "unknown_batch")


def test_a_list_says_how_many_it_takes(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    small, large = created(client), created(client)
    send(small, LINES)
    send(large, b"\n".join(b"no JSON" for _ in range(1001)))
    for batch in (small, large):
        client.post(batch["start_url"])
        work(storage, clock)
    assert len(client.get(f"/crewai/jobs?batch={small['batch_id']}&limit=100").json()["jobs"]) == 30
    assert_problem(client.get(f"/crewai/jobs?batch={large['batch_id']}"), 422, "invalid_request")


def test_what_counting_costs(
    client: TestClient, storage: Storage, clock: HandSetClock, emulator: str, figure: Figure
) -> None:
    """Twice: the first one notes what has ended."""
    batch = created(client)
    send(batch, b"\n".join(line(f"n{number}") for number in range(20)))
    client.post(batch["start_url"])
    bill = Bill(storage, aws_client("dynamodb", emulator))
    requests, reads, writes = bill.of(lambda: work(storage, clock))
    figure(f"submitting 20 lines: {reads:g} read units, {writes:g} write units, {requests}")
    client.post(f"{batch['batch_url']}/cancel")
    work(storage, clock)
    _, first, noted = bill.of(lambda: status(client, batch))
    _, second, none = bill.of(lambda: status(client, batch))
    figure(f"counting 20 jobs that have ended: {first:g} read units and {noted:g} write units, then {second:g}")
    assert (noted, none) == (1, 0)
    assert second < 5
    assert first > 20


# ---- on one machine


NOTHING = cast(Any, None)  # no webhooks here


class Machine:
    def __init__(self, folder: Path, clock: HandSetClock) -> None:
        database = Database(folder / "jobs.db")
        self.clock = clock
        self.folder = folder / UPLOADS
        store, doorbell = SqliteJobStore(database, clock), SqliteDoorbell(database, clock)
        self.kept = kept = SqliteBatches(database, clock)
        self.due, files = DueUploads(kept, clock), FolderUploads(self.folder)
        submission = Submission(store, doorbell, clock, new_id, POLICY, 1000)
        intervention = Intervention(store, doorbell, clock, POLICY, 1000, kept)
        self.batches = Batches(store, kept, files, submission, intervention, self.due, clock, new_id, POLICY, self.due)
        long_poll = LongPoll(database.changes, clock, timedelta(seconds=27))
        self.client = TestClient(
            create_api(Services(submission, intervention, store, self.batches, long_poll, NOTHING, NOTHING), LOCAL),
            raise_server_exceptions=False,
        )
        pause = timedelta(seconds=1)
        self.uploads = Uploads(store, kept, files, submission, intervention, self.due, clock, POLICY, read_line, pause)

    def work(self) -> None:
        for record in self.due.receive(10):
            self.uploads.answer(str(batch_of(record["body"])), self.clock() + INVOCATION)

    def left(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]


@pytest.fixture
def machine(tmp_path: Path, clock: HandSetClock) -> Machine:
    return Machine(tmp_path, clock)


def test_on_one_machine_the_lines_are_the_body(machine: Machine) -> None:
    batch = created(machine.client, LINES, **JSONL)
    assert (batch["state"], batch["upload_url"], batch["upload_fields"]) == ("expected", None, None)
    assert len(machine.left()) == 1
    machine.work()
    told = status(machine.client, batch)
    assert (told["state"], told["counts"]["pending"], told["counts"]["rejected"]) == ("submitted", 30, 1)
    assert machine.left() == []
    machine.client.post(f"{batch['batch_url']}/cancel")
    machine.work()
    told = status(machine.client, batch)
    assert (told["finished"], told["counts"]["cancelled"]) == (True, 30)
    assert len(results(machine.client, batch)) == 31


def test_on_one_machine_the_same_body_again_is_the_same_batch(machine: Machine) -> None:
    first = created(machine.client, LINES, **JSONL, **{"Idempotency-Key": "monday"})
    assert created(machine.client, LINES, **JSONL, **{"Idempotency-Key": "monday"}) == first
    another = machine.client.post(
        "/crewai/batches", content=LINES + b"\n", headers=JSONL | {"Idempotency-Key": "monday"}
    )
    assert_problem(another, 422, "idempotency_conflict")
    assert len(machine.left()) == 1
    machine.work()
    again = created(machine.client, LINES, **JSONL, **{"Idempotency-Key": "monday"})
    assert (again["batch_id"], again["state"]) == (first["batch_id"], "submitted")
    assert machine.left() == []


@pytest.mark.parametrize(
    ("content", "headers", "code", "name"),
    [
        (b"", JSONL, 422, "invalid_upload"),
        (LINES, {"Content-Type": "application/json"}, 415, "unsupported_encoding"),
        (LINES, JSONL | {"Content-Encoding": "gzip"}, 415, "unsupported_encoding"),
    ],
)
def test_on_one_machine_a_body_that_is_refused_leaves_nothing(
    machine: Machine, content: bytes, headers: dict[str, str], code: int, name: str
) -> None:
    assert_problem(machine.client.post("/crewai/batches", content=content, headers=headers), code, name)
    assert not machine.folder.exists() or machine.left() == []
    assert machine.due.receive(10) == []


def test_on_one_machine_a_body_that_is_too_large_is_not_kept(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewrelay.http.uploads.LARGEST_FILE", 3_000_000)

    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            yield b"x" * 65_536

    response = machine.client.post("/crewai/batches", content=endless(), headers=JSONL)
    assert_problem(response, 413, "body_too_large")
    assert machine.left() == []


def test_a_tenant_has_only_so_many_unfinished_files(machine: Machine) -> None:
    first = created(machine.client, LINES, **JSONL, **{"Idempotency-Key": "monday"})
    for _ in range(MOST_UPLOADS - 1):
        created(machine.client, LINES, **JSONL)
    refused = machine.client.post("/crewai/batches", content=LINES, headers=JSONL)
    assert_problem(refused, 429, "too_many_jobs")
    assert refused.headers["retry-after"]
    assert len(machine.left()) == MOST_UPLOADS
    assert created(machine.client, LINES, **JSONL, **{"Idempotency-Key": "monday"}) == first  # adds none
    machine.work()
    created(machine.client, LINES, **JSONL)


def test_files_count_while_they_are_received(machine: Machine) -> None:
    """Else one token could begin any number of requests."""
    with ExitStack() as requests:
        for _ in range(MOST_UPLOADS):
            requests.enter_context(machine.batches.receiving("local", None))
        assert_problem(machine.client.post("/crewai/batches", content=LINES, headers=JSONL), 429, "too_many_jobs")
        assert not machine.folder.exists()
    created(machine.client, LINES, **JSONL)


def test_what_a_request_that_died_has_left_is_deleted(machine: Machine) -> None:
    created(machine.client, LINES, **JSONL)
    left, coming = machine.folder / "died.part", machine.folder / "coming.part"
    for path, age in ((left, 4000), (coming, 60)):
        path.write_bytes(LINES)
        os.utime(path, (time.time() - age, time.time() - age))
    created(machine.client, LINES, **JSONL)
    assert (left.exists(), coming.exists()) == (False, True)


def test_results_come_in_windows_while_a_file_is_read(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewrelay.http.batches._WINDOW", 1000)
    batch = created(machine.client, LINES, **JSONL)
    rejected = [BatchItem(custom_id=str(number), rejection="is bad") for number in range(CHUNK)]
    found = machine.kept.load(batch["batch_id"], None)
    assert found
    machine.kept.put_chunk(found, 0, rejected)  # and the reader has yet to note it
    assert len(machine.client.get(batch["results_url"]).content) < 2000
    assert [each["custom_id"] for each in results(machine.client, batch)] == [item.custom_id for item in rejected]
