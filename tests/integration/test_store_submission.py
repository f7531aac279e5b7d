"""What every job store promises of a submission, a repeated one, and one whose process died."""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from crewrelay.aws import rows
from crewrelay.aws.store import DynamoJobStore
from crewrelay.jobs.errors import IdempotencyConflict
from crewrelay.jobs.ports import JobRecord, JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.journal import Receipt
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import (
    ANSWER,
    FAILURE,
    INPUT,
    OTHER_INPUT,
    POLICY,
    bodies,
    claimed,
    due_job_ids,
    loaded,
    submitted,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def test_every_field_comes_back_as_it_was_stored(store: JobStore, clock: HandSetClock) -> None:
    now = clock()
    job = Job(
        id=str(uuid.uuid4()),
        tenant="acme",
        crew="research",
        input_digest=INPUT.digest(),
        status=Status.FAILED,
        fence=3,
        holder="somebody",
        attempts=2,
        created_at=now,
        not_before=now + timedelta(milliseconds=1),
        due_at=now + timedelta(milliseconds=1001),
        lease_until=now + timedelta(seconds=2, milliseconds=999),
        started_at=now + timedelta(seconds=3),
        finished_at=now + timedelta(seconds=4),
        end_by=now + timedelta(hours=24),
        fingerprint="crew-1",
        stalled=1,
        relays=3,
        strikes=2,
        alone=True,
        restarts=1,
        receipt=Receipt(
            calls_paid=4, calls_replayed=2, prompt_tokens=40, completion_tokens=20, cost_usd=Decimal("0.00012345")
        ),
        expires_at=now + timedelta(days=30),
        error=FAILURE,
    )
    store.create(job, INPUT)
    assert loaded(store, job.id) == JobRecord(job, INPUT, None)


def test_a_fresh_job_comes_back_pending_and_without_an_answer(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    assert loaded(store, job.id) == JobRecord(job, INPUT, None)


def test_an_unknown_id_is_none(store: JobStore, clock: HandSetClock) -> None:
    submitted(store, clock)
    assert store.load(str(uuid.uuid4())) is None


def test_a_job_can_be_claimed_at_the_very_moment_of_its_submission(store: JobStore, clock: HandSetClock) -> None:
    clock.pass_(microseconds=600)
    job = loaded(store, submitted(store, clock).id).job
    assert transitions.claimable(job, clock())


def test_the_same_submission_again_gives_the_job_that_stands(store: JobStore, clock: HandSetClock) -> None:
    first = submitted(store, clock)
    running = claimed(store, first, clock)
    clock.pass_(seconds=5)
    assert submitted(store, clock, job_id=first.id) == running
    assert loaded(store, first.id) == JobRecord(running, INPUT, None)


def test_another_input_under_the_same_id_conflicts_and_changes_nothing(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    with pytest.raises(IdempotencyConflict):
        submitted(store, clock, OTHER_INPUT, job.id)
    assert loaded(store, job.id) == JobRecord(job, INPUT, None)


def test_a_job_is_gone_from_the_moment_it_expires(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    store.save(job, transitions.cancel(job, clock()))
    clock.now = job.expires_at - timedelta(seconds=1)
    assert store.load(job.id) is not None
    clock.now = job.expires_at
    assert store.load(job.id) is None


def test_an_expired_job_makes_way_for_a_new_one_under_its_id(store: JobStore, clock: HandSetClock) -> None:
    old = claimed(store, submitted(store, clock), clock)
    store.put_answer(old, ANSWER)
    store.save(old, transitions.complete(old, clock()))
    clock.now = old.expires_at
    new = submitted(store, clock, OTHER_INPUT, old.id)
    assert (new.status, new.fence, new.created_at) == (Status.PENDING, 0, clock())
    assert loaded(store, new.id) == JobRecord(new, OTHER_INPUT, None)
    running = claimed(store, new, clock)  # under the fence that the old one's answer lies under
    assert loaded(store, new.id) == JobRecord(running, OTHER_INPUT, None)


def test_another_tenants_job_is_not_there(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    assert store.load(job.id, "acme") == loaded(store, job.id)
    assert store.load(job.id, "other") is None


def test_a_key_whose_submission_died_long_ago_is_free_for_another_body(storage: Storage, clock: HandSetClock) -> None:
    store, other = storage.store(clock), JobInput(crew="research", inputs={"topic": "another"})
    job = submitted(store, clock)
    storage.dynamodb.delete_item(TableName=storage.table, Key=rows.key(job.id, "JOB"))  # as if it had never come to it
    clock.pass_(seconds=30)  # it may still be under way
    with pytest.raises(IdempotencyConflict):
        store.create(transitions.submit(job.id, "acme", other, clock(), POLICY), other)
    clock.pass_(seconds=60)
    later = transitions.submit(job.id, "acme", other, clock(), POLICY)
    assert store.create(later, other) == later
    assert loaded(store, job.id).input == other


def test_a_key_whose_job_has_expired_is_free_though_its_input_was_renewed(
    storage: Storage, clock: HandSetClock
) -> None:
    store, other = storage.store(clock), JobInput(crew="research", inputs={"topic": "another"})
    job = submitted(store, clock)
    clock.pass_(days=29)
    store.create(transitions.submit(job.id, "acme", INPUT, clock(), POLICY), INPUT)
    with pytest.raises(IdempotencyConflict):
        store.create(transitions.submit(job.id, "acme", other, clock(), POLICY), other)
    clock.pass_(days=2)
    later = transitions.submit(job.id, "acme", other, clock(), POLICY)
    assert store.create(later, other) == later
    assert loaded(store, job.id).input == other


class DiesBeforeTheCommit:
    """A client whose process dies after the first write."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client
        self._writes = 0

    def put_item(self, **arguments: Any) -> Any:
        self._writes += 1
        if self._writes > 1:
            raise SystemExit
        return self._client.put_item(**arguments)


def test_a_submission_that_died_halfway_is_no_job_and_can_be_repeated(storage: Storage, clock: HandSetClock) -> None:
    job_id = str(uuid.uuid4())
    dying: Any = DiesBeforeTheCommit(storage.dynamodb)
    with pytest.raises(SystemExit):
        submitted(DynamoJobStore(dying, storage.table, clock, bodies(storage)), clock, job_id=job_id)
    store = storage.store(clock)
    assert store.load(job_id) is None
    assert due_job_ids(storage) == set()
    job = submitted(store, clock, job_id=job_id)
    assert loaded(store, job_id) == JobRecord(job, INPUT, None)


def test_the_input_of_a_repeated_submission_lives_as_long_as_its_job(storage: Storage, clock: HandSetClock) -> None:
    job_id = str(uuid.uuid4())
    dying: Any = DiesBeforeTheCommit(storage.dynamodb)
    with pytest.raises(SystemExit):
        submitted(DynamoJobStore(dying, storage.table, clock, bodies(storage)), clock, job_id=job_id)
    clock.pass_(days=1)
    submitted(storage.store(clock), clock, job_id=job_id)
    expiry = {row["sk"]["S"]: int(row["expires_at"]["N"]) for row in storage.rows()}
    assert expiry["INPUT"] >= expiry["JOB"]
