"""What every job store promises of a job that is deleted."""

import pytest

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.listing import Filter, Page
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.events import EventRow
from crewrelay.jobs.records.job import Job, Status
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.store import SqliteJobStore
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import (
    ANSWER,
    FAILURE,
    OTHER_INPUT,
    POLICY,
    call_of,
    claimed,
    completed,
    loaded,
    submitted,
    text_of_compressed_size,
)

LARGE = 300_000  # bytes, compressed: more than a row takes


def that_ended(store: JobStore, clock: HandSetClock, status: Status = Status.COMPLETED, large: bool = False) -> Job:
    """A job with an answer and a journal."""
    job = claimed(store, submitted(store, clock), clock)
    text = text_of_compressed_size(LARGE) if large else "a reply"
    for nth in range(3):
        store.put_call(job, call_of(text, nth=nth))
    if large:
        store.put_answer(job, ANSWER.model_copy(update={"text": text}))
        done = transitions.complete(job, clock())
    else:
        done = {
            Status.COMPLETED: completed(store, job, clock),
            Status.FAILED: transitions.fail(job, FAILURE, clock()),
            Status.CANCELLED: transitions.cancel(job, clock()),
        }[status]
    store.save(job, done)
    return done


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_nothing_is_left_of_a_deleted_job(store: JobStore, clock: HandSetClock, status: Status) -> None:
    other = that_ended(store, clock)
    job = that_ended(store, clock, status)
    store.delete(job)
    assert store.load(job.id) is None
    assert store.jobs([job.id], "acme") == []
    assert store.entries(job) == []
    assert store.listed("acme", Filter(), None, 10) == Page([other], None)
    assert loaded(store, other.id).answer == ANSWER
    assert len(store.entries(other)) == 3


def test_its_id_is_free_for_another_job_which_takes_over_nothing(store: JobStore, clock: HandSetClock) -> None:
    old = that_ended(store, clock)
    store.delete(old)
    new = claimed(store, submitted(store, clock, OTHER_INPUT, old.id), clock)
    assert loaded(store, old.id).input == OTHER_INPUT
    assert list(store.journal(new)) == []
    assert store.put_call(new, call_of("another reply")) == call_of("another reply")


def test_a_job_that_was_changed_meanwhile_is_left(store: JobStore, clock: HandSetClock) -> None:
    failed = that_ended(store, clock, Status.FAILED)
    retried = transitions.retry(failed, clock(), POLICY)
    store.save(failed, retried)
    with pytest.raises(StaleWrite):
        store.delete(failed)
    assert loaded(store, failed.id).job == retried
    assert len(store.entries(failed)) == 3


def test_a_second_deletion_is_none(store: JobStore, clock: HandSetClock) -> None:
    job = that_ended(store, clock, Status.CANCELLED)
    store.delete(job)
    new = submitted(store, clock, job_id=job.id)
    with pytest.raises(StaleWrite):
        store.delete(job)
    assert loaded(store, job.id).job == new


def test_a_former_holder_changes_nothing_of_the_job_that_has_its_id_now(store: JobStore, clock: HandSetClock) -> None:
    """It writes under the same fence: that of the new job begins again."""
    stale = claimed(store, submitted(store, clock), clock, "one")
    store.save(stale, cancelled := transitions.cancel(stale, clock()))
    store.delete(cancelled)
    clock.pass_(seconds=5)
    late, long = ANSWER.model_copy(update={"text": "too late"}), EventRow(1, [("relayed", 1)] * 5)
    store.put_answer(stale, late)
    store.put_events(stale, long)
    new = claimed(store, submitted(store, clock, job_id=stale.id), clock, "two")
    store.put_answer(stale, late)
    store.put_events(stale, long)
    done = completed(store, new, clock)
    store.put_events(new, EventRow(1, [("claimed", 2)]))
    store.put_answer(stale, late)
    store.put_events(stale, long)
    store.save(new, done)
    assert loaded(store, new.id).answer == ANSWER
    assert list(store.events(new.model_copy(update={"log_from": 9}))) == [EventRow(1, [("claimed", 2)])]


# ---- DynamoDB and S3


def objects(storage: Storage) -> list[str]:
    return [found["Key"] for found in storage.s3.list_objects_v2(Bucket=storage.bucket).get("Contents", [])]


def test_its_rows_and_objects_are_gone_also_those_that_no_row_refers_to(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    other = that_ended(store, clock, large=True)
    job = that_ended(store, clock, large=True)
    storage.s3.put_object(Bucket=storage.bucket, Key=f"jobs/{job.id}/of-a-lost-race.json", Body=b"")
    rows, names = storage.rows(), objects(storage)
    store.delete(job)
    assert storage.rows() == [row for row in rows if row["pk"]["S"] == f"JOB#{other.id}"]
    assert objects(storage) == [name for name in names if other.id in name]
    assert len(objects(storage)) == len(names) // 2 > 0


class Dies(BaseException):
    pass


@pytest.mark.parametrize("large", [False, True])
def test_a_deletion_that_dies_at_any_request_can_be_repeated_and_leaves_no_damaged_job(
    storage: Storage, clock: HandSetClock, large: bool
) -> None:
    store, deaths = storage.store(clock), 0
    job = that_ended(store, clock, large=large)
    left = [0]

    def die(**_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Dies

    for client in (storage.dynamodb, storage.s3):
        client.meta.events.register("before-call", die)
    while True:
        left[0] = 10**9
        record = store.load(job.id)
        left[0] = deaths
        if record is None:
            break
        assert record.job.status in (Status.COMPLETED, Status.CANCELLED)
        deaths += 1
        try:
            store.delete(record.job)
        except Dies:
            continue
    left[0] = 10**9
    assert deaths > 5
    assert storage.rows() == []
    assert objects(storage) == []


# ---- SQLite


def test_no_row_of_it_is_left_in_any_table(database: Database, clock: HandSetClock) -> None:
    store = SqliteJobStore(database, clock)
    store.delete(that_ended(store, clock))
    with database.reading() as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        left = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    assert len(tables) >= 6
    assert not any(left.values())


def test_a_holder_of_the_deleted_job_can_not_write_to_a_new_one_of_its_id(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    store.save(running, cancelled := transitions.cancel(running, clock()))
    store.delete(cancelled)
    again = store.create(transitions.submit(running.id, "acme", OTHER_INPUT, clock(), POLICY), OTHER_INPUT)
    rivals = claimed(store, again, clock, "a rival")
    assert (rivals.revision, rivals.fence) == (running.revision, running.fence)
    store.put_answer(running, ANSWER)
    with pytest.raises(StaleWrite):
        store.save(running, transitions.complete(running, clock()))
    assert loaded(store, running.id).job == rivals
