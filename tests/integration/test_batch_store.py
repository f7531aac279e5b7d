"""What every store of batches promises."""

from datetime import timedelta

import pytest

from crewrelay.aws.batches import DynamoBatches
from crewrelay.aws.subscriptions import DynamoSubscriptions
from crewrelay.jobs.errors import IdempotencyConflict, StaleWrite
from crewrelay.jobs.records.batch import (
    CHUNK,
    MOST_ITEMS,
    Batch,
    BatchItem,
    BatchStore,
    Outcomes,
    Upload,
    UploadState,
    letters,
    subject_id,
    subscribe_to_end,
)
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.subscription import LEASE, claim
from crewrelay.jobs.records.webhook import Webhook
from crewrelay.jobs.webhooks.notifier import Subscriptions
from crewrelay.sqlite.batches import SqliteBatches
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.sqlite.subscriptions import SqliteSubscriptions
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


@pytest.fixture
def subscriptions(batches: BatchStore, request: pytest.FixtureRequest, clock: HandSetClock) -> Subscriptions:
    """Of the batches."""
    if isinstance(batches, MemoryBatches):
        return batches.subscriptions
    if isinstance(batches, SqliteBatches):
        return SqliteSubscriptions(request.getfixturevalue("database"))
    storage: Storage = request.getfixturevalue("storage")
    return DynamoSubscriptions(storage.dynamodb, storage.table, clock)


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


# ---- of a file


def upload_of(clock: HandSetClock, batch_id: str = "an-id") -> Batch:
    upload = Upload(due_at=clock() + timedelta(minutes=2), until=clock() + timedelta(hours=1), collections=("news",))
    return batch_of(clock, batch_id=batch_id).model_copy(update={"upload": upload})


def changed(batch: Batch, **changes: object) -> Batch:
    assert batch.upload
    return batch.model_copy(update={"upload": batch.upload.model_copy(update={"revision": 2, **changes})})


def test_how_far_a_file_was_read_is_written_by_one_of_two(batches: BatchStore, clock: HandSetClock) -> None:
    batch = batches.create(upload_of(clock))
    assert batches.load("an-id", None) == batch
    first = changed(batch, offset=100)
    batches.save(batch, first)
    with pytest.raises(StaleWrite):
        batches.save(batch, changed(batch, offset=200))
    assert batches.load("an-id", "acme") == first
    with pytest.raises(StaleWrite):
        batches.save(upload_of(clock, "another"), upload_of(clock, "another"))


def test_a_file_is_due_until_it_is_done(batches: BatchStore, clock: HandSetClock) -> None:
    batch, other = batches.create(upload_of(clock)), batches.create(upload_of(clock, "another"))
    batches.create(batch_of(clock, *ITEMS, batch_id="of a request"))
    assert list(batches.due(clock())) == []
    clock.pass_(seconds=120)
    assert sorted(batches.due(clock())) == ["an-id", "another"]
    batches.save(batch, changed(batch, due_at=None, state=UploadState.SUBMITTED))
    assert list(batches.due(clock())) == [other.id]


def test_the_uploads_of_a_tenant_that_are_not_over_are_counted(batches: BatchStore, clock: HandSetClock) -> None:
    some = [batches.create(upload_of(clock, str(number))) for number in range(3)]
    batches.create(batch_of(clock, *ITEMS))
    assert [batches.unfinished("acme", most) for most in (10, 3, 2)] == [3, 3, 2]
    assert batches.unfinished("other", 10) == 0
    assert some[0].upload
    over = some[0].upload.model_copy(update={"due_at": None, "revision": 2})
    batches.save(some[0], some[0].model_copy(update={"upload": over}))
    assert batches.unfinished("acme", 10) == 2


def test_a_chunk_is_put_once(batches: BatchStore, clock: HandSetClock) -> None:
    batch = batches.create(upload_of(clock))
    most = tuple(BatchItem(custom_id=f"{n:064}", rejection="🌧" * 28) for n in range(CHUNK))
    assert batches.put_chunk(batch, 1, ITEMS) == ITEMS
    assert batches.put_chunk(batch, 1, most) == ITEMS
    for number in (0, *range(2, 120)):
        batches.put_chunk(batch, number, most)
    assert [number for number, _ in batches.chunks(batch)] == list(range(120))
    assert list(batches.chunks(batch, 118)) == [(118, most), (119, most)]
    assert list(batches.chunks(batch, 120)) == []
    assert list(batches.chunks(batches.create(upload_of(clock, "another")))) == []
    batches.replace_chunk(batch, 1, most)
    assert batches.put_chunk(batch, 1, ITEMS) == most


def test_what_is_reopened_is_read_ever_after(batches: BatchStore, clock: HandSetClock) -> None:
    batch = batches.create(upload_of(clock))
    noted = letters([Status.COMPLETED, Status.FAILED, None, Status.CANCELLED, Status.RUNNING])
    batches.put_outcomes(batch, 7, noted)
    known = batches.outcomes(batch)[7]
    assert [known.status(place) for place in range(6)] == [
        Status.COMPLETED,
        Status.FAILED,
        None,
        Status.CANCELLED,
        None,
        None,
    ]
    for place in (1, 1, 3):
        batches.reopen(batch.id, 7 * CHUNK + place, batch.expires_at)
    batches.put_outcomes(batch, 7, noted)  # of a reader who was late
    known = batches.outcomes(batch)[7]
    assert [known.status(place) for place in range(4)] == [Status.COMPLETED, None, None, None]
    batches.reopen(batch.id, 12, batch.expires_at)  # nothing was noted
    assert batches.outcomes(batch)[0] == Outcomes("", frozenset({12}))
    assert list(batches.outcomes(batch, 1)) == [7]


def test_a_batch_in_place_of_an_expired_one_has_nothing_of_it(batches: BatchStore, clock: HandSetClock) -> None:
    first = batches.create(upload_of(clock))
    batches.put_chunk(first, 0, ITEMS)
    batches.put_outcomes(first, 0, "cc")
    clock.now = first.expires_at
    second = batches.create(upload_of(clock))
    assert (list(batches.chunks(second)), batches.outcomes(second)) == ([], {})
    assert batches.put_chunk(second, 0, ITEMS[:1]) == ITEMS[:1]
    batches.reopen(second.id, 1, second.expires_at)
    assert batches.outcomes(second)[0].status(0) is None


HOOK = Webhook(url="https://example.org/hook", events=(EventType.COMPLETED,))


def test_its_subscription_comes_with_it_and_is_due(
    batches: BatchStore, subscriptions: Subscriptions, clock: HandSetClock
) -> None:
    batch = batch_of(clock, *ITEMS)
    subscription = subscribe_to_end(batch, HOOK)
    batches.create(batch, subscription)
    assert subscriptions.of(subject_id(batch.id)) == [subscription]
    assert list(subscriptions.due(clock())) == []
    held = claim(subscription, "me", clock())
    subscriptions.save(subscription, held)
    assert batches.create(batch_of(clock, *ITEMS), subscription) == batch  # the request again
    assert subscriptions.of(subject_id(batch.id)) == [held]
    assert list(subscriptions.due(clock() + LEASE)) == [subject_id(batch.id)]
    clock.now = batch.expires_at
    second = batch_of(clock, *ITEMS)
    batches.create(second, subscribe_to_end(second, HOOK))
    assert subscriptions.of(subject_id(batch.id)) == [subscribe_to_end(second, HOOK)]


def test_a_refused_request_leaves_no_webhook(
    batches: BatchStore, subscriptions: Subscriptions, clock: HandSetClock
) -> None:
    batch = batch_of(clock, *ITEMS)
    first = subscribe_to_end(batch, HOOK)
    batches.create(batch, first)
    batches.create(silent := batch_of(clock, batch_id="without"))
    for told, kept in ((batch, [first]), (silent, [])):
        other = batch_of(clock, *ITEMS, digest="e" * 64, batch_id=told.id)
        with pytest.raises(IdempotencyConflict):
            batches.create(other, subscribe_to_end(other, HOOK.model_copy(update={"url": "https://example.org/other"})))
        assert subscriptions.of(subject_id(told.id)) == kept


def test_a_request_that_died_before_its_webhook_was_there_is_completed_when_it_is_repeated(
    storage: Storage, clock: HandSetClock
) -> None:
    batches = DynamoBatches(storage.dynamodb, storage.table, clock)
    batch = batches.create(batch_of(clock, *ITEMS))
    batches.create(batch, subscribe_to_end(batch, HOOK))
    kept = DynamoSubscriptions(storage.dynamodb, storage.table, clock).of(subject_id(batch.id))
    assert kept == [subscribe_to_end(batch, HOOK)]


def test_expired_batches_leave_the_file(database: Database, clock: HandSetClock) -> None:
    batches = SqliteBatches(database, clock)
    new = upload_of(clock)
    batch = batches.create(new, subscribe_to_end(new, HOOK))
    batches.put_chunk(batch, 0, ITEMS)
    batches.put_outcomes(batch, 0, "cc")
    clock.pass_(seconds=60)
    other = upload_of(clock, "another")
    subscription = subscribe_to_end(other, HOOK)
    batches.put_chunk(batches.create(other, subscription), 0, ITEMS)
    clock.now = batch.expires_at
    SqliteJobStore(database, clock).delete_expired()
    assert SqliteSubscriptions(database).of(subject_id(other.id)) == [subscription]  # it has not expired
    assert list(batches.chunks(other)) == [(0, ITEMS)]
    clock.now = other.expires_at
    SqliteJobStore(database, clock).delete_expired()
    with database.reading() as connection:
        for table in ("batches", "chunks", "outcomes", "subscriptions"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
