"""Rows and messages of earlier code, as it wrote them: today's reads them and goes on, with jobs in flight.

`tests/upgrade/` has one file for each version that wrote otherwise.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crewrelay.aws.queue import SqsQueue
from crewrelay.events.bells import job_id_of
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.running.execution import Execution
from crewrelay.jobs.sweeper import Sweeper
from crewrelay.system import new_id
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import ANSWER, POLICY, ScriptedCrew, api_app
from tests.support.processes import ROOT

VERSIONS = sorted((ROOT / "tests/upgrade").glob("*.json"))


class Written:
    """What a version left behind, put into a table of today's."""

    def __init__(self, file: Path, storage: Storage, clock: HandSetClock) -> None:
        self.storage, self.clock = storage, clock
        content = json.loads(file.read_text(), object_hook=_bytes)
        self.ids: dict[str, str] = content["ids"]
        self.messages: list[str] = content["messages"]
        for row in content["rows"]:
            storage.dynamodb.put_item(TableName=storage.table, Item=row)

    def statuses(self) -> dict[str, str]:
        store = self.storage.store(self.clock)
        records = {name: store.load(job_id) for name, job_id in self.ids.items()}
        return {name: record.job.status if record else "gone" for name, record in records.items()}

    def run(self, name: str) -> ScriptedCrew:
        crew, doorbell = ScriptedCrew(), SqsQueue(self.storage.sqs, self.storage.queue_url)
        store = self.storage.store(self.clock)
        execution = Execution(store, doorbell, crew, self.clock, new_id, lambda: 0.5, POLICY)
        execution.run(self.ids[name], self.clock() + timedelta(seconds=600), first_call_is_free=True)
        return crew


def _bytes(value: dict[str, Any]) -> Any:
    return bytes.fromhex(value["bytes"]) if value.keys() == {"bytes"} else value


@pytest.fixture(params=VERSIONS, ids=lambda file: file.stem)
def written(request: pytest.FixtureRequest, storage: Storage, clock: HandSetClock) -> Written:
    return Written(request.param, storage, clock)


@pytest.fixture
def client(written: Written) -> Iterator[TestClient]:
    with TestClient(api_app(written.storage, written.clock)) as client:
        yield client


def test_every_job_is_read_as_it_was(written: Written, client: TestClient) -> None:
    assert written.statuses() == {name: name for name in ("pending", "completed", "failed", "cancelled", "running")}
    completed = client.get(f"/crewai/status/{written.ids['completed']}").json()
    assert (completed["result"], completed["sources"][0]["text"]) == ("Grüße [1].", "It rains.")
    assert (completed["receipt"]["calls_paid"], completed["usage"]["prompt_tokens"]) == (2, 20)
    failed = client.get(f"/crewai/status/{written.ids['failed']}").json()
    assert failed["error"]["message"] == "nonsense"
    calls = client.get(f"/crewai/jobs/{written.ids['running']}/calls").json()["calls"]
    paid = sorted((call["kind"], call["prompt_tokens"]) for call in calls)
    assert paid == [("model", 10), ("model", 10), ("retrieval", 0)]


def test_its_messages_are_understood(written: Written) -> None:
    assert {job_id_of(message) for message in written.messages} == set(written.ids.values())


def test_what_was_waiting_is_run(written: Written) -> None:
    assert written.run("pending").given
    assert written.statuses()["pending"] == Status.COMPLETED


def test_what_was_running_is_taken_over_once_its_lease_is_out(written: Written, client: TestClient) -> None:
    assert not written.run("running").given
    written.clock.pass_(minutes=5)
    assert written.run("running").given
    job = client.get(f"/crewai/status/{written.ids['running']}").json()
    assert (job["status"], job["result"]) == ("completed", ANSWER.text)
    assert job["receipt"]["restarts"] == 1  # the crew is another one
    assert job["receipt"]["calls_paid"] == 2  # and what it had paid is not forgotten


def test_a_sweep_rings_for_it(written: Written) -> None:
    written.clock.pass_(minutes=10)
    store, doorbell = written.storage.store(written.clock), SqsQueue(written.storage.sqs, written.storage.queue_url)
    Sweeper(store, doorbell, written.clock, POLICY).sweep(written.clock() + timedelta(seconds=60))
    rung = {message["Body"] for message in written.storage.messages(written.storage.queue_url)}
    assert {job_id_of(body) for body in rung} == {written.ids["pending"], written.ids["running"]}


def test_it_can_be_cancelled_and_retried(written: Written, client: TestClient) -> None:
    cancelled = client.post(f"/crewai/jobs/{written.ids['pending']}/cancel").json()
    assert cancelled["status"] == "cancelled"
    retried = client.post(f"/crewai/jobs/{written.ids['failed']}/retry").json()
    assert retried["status"] == "pending"
    assert written.run("failed").given
    assert written.statuses()["failed"] == Status.COMPLETED
