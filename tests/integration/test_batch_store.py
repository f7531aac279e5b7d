"""What every store of batches promises."""

from datetime import timedelta

import pytest

from crewrelay.aws.batches import DynamoBatches
from crewrelay.jobs.batch import MOST_ITEMS, Batch, BatchItem, BatchStore
from crewrelay.jobs.errors import IdempotencyConflict
from crewrelay.sqlite.batches import SqliteBatches
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.testing import MemoryBatches
from tests.support.fixtures import HandSetClock, Storage


@pytest.fixture(params=["memory", "sqlite", "dynamo"])
def batches(request: pytest.FixtureRequest, clock: HandSetClock) -> BatchStore:
    if request.param == "memory":
        return MemoryBatches(clock)
    if request.param == "sqlite":
        return SqliteBatches(request.getfixturevalue("database"), clock)
    storage: Storage = request.getfixturevalue("storage")
    return DynamoBatches(storage.dynamodb, storage.table, clock)


def batch_of(clock: HandSetClock, *items: BatchItem, digest: str = "d" * 64, batch_id: str = "an-id") -> Batch:
    now, end = clock(), clock() + timedelta(days=30)
    return Batch(id=batch_id, tenant="acme", digest=digest, created_at=now, expires_at=end, items=items)


ITEMS = (BatchItem(custom_id="one"), BatchItem(custom_id="2", rejection="language: must be …"))


def test_a_batch_comes_back_as_it_was_stored_to_its_tenant_alone(batches: BatchStore, clock: HandSetClock) -> None:
    batch = batch_of(clock, *ITEMS)
    assert batches.create(batch) == batch
    assert batches.load("an-id", "acme") == batch
    assert batches.load("an-id", "zoo") is None
    assert batches.load("another", "acme") is None
    assert batches.load("x" * 5000, "acme") is None


def test_the_same_request_again_gives_the_batch_that_stands(batches: BatchStore, clock: HandSetClock) -> None:
    first = batches.create(batch_of(clock, *ITEMS))
    clock.pass_(seconds=5)
    assert batches.create(batch_of(clock, *ITEMS)) == first
    with pytest.raises(IdempotencyConflict):
        batches.create(batch_of(clock, *ITEMS, digest="e" * 64))
    assert batches.load("an-id", "acme") == first


def test_a_batch_is_gone_from_the_moment_it_expires_and_makes_way(batches: BatchStore, clock: HandSetClock) -> None:
    first = batches.create(batch_of(clock, *ITEMS))
    clock.now = first.expires_at
    assert batches.load("an-id", "acme") is None
    second = batch_of(clock, ITEMS[0], digest="e" * 64)
    assert batches.create(second) == second
    assert batches.load("an-id", "acme") == second


def test_the_largest_batch_fits(batches: BatchStore, clock: HandSetClock) -> None:
    items = [BatchItem(custom_id=f"{n:064}", rejection="🌧" * 25) for n in range(MOST_ITEMS)]
    batch = batches.create(batch_of(clock, *items))
    assert batches.load("an-id", "acme") == batch


def test_expired_batches_leave_the_file(database: Database, clock: HandSetClock) -> None:
    clock.now = SqliteBatches(database, clock).create(batch_of(clock)).expires_at
    SqliteJobStore(database, clock).delete_expired()
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM batches").fetchone()[0] == 0
