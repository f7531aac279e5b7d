"""What every job store promises of what can't be read, and of a table that can't be reached."""

import socket
import time
import uuid
from datetime import timedelta

import pytest

from crewrelay.aws import clients
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.store import DynamoJobStore
from crewrelay.jobs.errors import DamagedJob, ServiceRefused, Unavailable
from crewrelay.jobs.ports import JobStore, event_log_of
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.job import JobInput, Status
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import (
    FAILURE,
    SQL_OF_DAMAGE,
    bodies,
    claimed,
    damage,
    loaded,
    submitted,
    text_of_compressed_size,
)


@pytest.mark.parametrize("claim_it", [False, True], ids=["pending", "running"])
@pytest.mark.parametrize("what", SQL_OF_DAMAGE)
def test_a_job_that_can_not_be_read_says_so_until_it_is_ended(
    request: pytest.FixtureRequest, store: JobStore, clock: HandSetClock, what: str, claim_it: bool
) -> None:
    job = submitted(store, clock)
    if claim_it:
        job = claimed(store, job, clock)
    assert job.due_at
    damage(request, store, job, what)
    with pytest.raises(DamagedJob, match=job.id):
        store.load(job.id)
    assert not store.end_damaged(job.id, FAILURE, clock(), job.due_at - timedelta(milliseconds=1))
    assert store.end_damaged(job.id, FAILURE, clock(), job.due_at)
    assert not store.end_damaged(job.id, FAILURE, clock(), job.due_at)
    assert store.unfinished("acme", 10) == 0
    assert [list(store.due(status, clock() + timedelta(days=1))) for status in Status] == [[]] * len(Status)
    if what == "input":
        ended = loaded(store, job.id)
        assert (ended.job.status, ended.job.error, ended.input.inputs) == (Status.FAILED, FAILURE, {})
        assert [event.what for event in event_log_of(store, ended.job)] == [EventType.FAILED]


def test_only_an_unfinished_job_is_ended_so(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    finished = transitions.cancel(running, clock())
    store.save(running, finished)
    assert not store.end_damaged(running.id, FAILURE, clock(), clock())
    assert not store.end_damaged(str(uuid.uuid4()), FAILURE, clock(), clock())
    assert loaded(store, running.id).job == finished


def test_a_body_that_is_gone_from_the_bucket_is_damage_and_no_outage(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    job = submitted(store, clock, JobInput(crew="research", inputs={"topic": text_of_compressed_size(300_000)}))
    (found,) = storage.s3.list_objects_v2(Bucket=storage.bucket)["Contents"]
    storage.s3.delete_object(Bucket=storage.bucket, Key=found["Key"])
    with pytest.raises(DamagedJob, match="no longer has"):
        store.load(job.id)


def test_nothing_that_another_tenant_keeps_elsewhere_is_read(storage: Storage, clock: HandSetClock) -> None:
    """Or a fault there would tell that there is something."""
    job_input = JobInput(crew="research", inputs={"topic": text_of_compressed_size(300_000)})
    job = submitted(storage.store(clock), clock, job_input)
    nowhere = DynamoJobStore(storage.dynamodb, storage.table, clock, Bodies(lambda: storage.s3, "no-such-bucket"))
    with pytest.raises(ServiceRefused):
        nowhere.load(job.id, "acme")
    assert nowhere.load(job.id, "other") is None


def test_a_table_that_can_not_be_reached_is_unavailable_within_seconds(
    monkeypatch: pytest.MonkeyPatch, clock: HandSetClock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed_port = server.getsockname()[1]
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{closed_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    store = DynamoJobStore(
        clients.dynamodb.__wrapped__(), "jobs", clock, Bodies(clients.s3, "bodies")
    )  # the product's own timeouts and retries
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="table"):
        store.load(str(uuid.uuid4()))
    assert time.monotonic() - begun < 12


def test_a_missing_table_refuses_and_may_be_there_later(storage: Storage, clock: HandSetClock) -> None:
    store = DynamoJobStore(storage.dynamodb, "no-such-table", clock, bodies(storage))
    with pytest.raises(ServiceRefused, match="ResourceNotFoundException") as refused:
        submitted(store, clock)
    assert refused.value.outage
