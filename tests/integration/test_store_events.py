"""What every job store promises of the event log's rows."""

from crewrelay.aws import rows
from crewrelay.jobs.ports import JobStore, event_log_of
from crewrelay.jobs.records import events, transitions
from crewrelay.jobs.records.event_log import begin_task, logged, with_call
from crewrelay.jobs.records.events import Entry, EventRow
from crewrelay.jobs.records.job import Job
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import INPUT, POLICY, call_of, claimed, loaded, submitted


def entries(count: int) -> list[Entry]:
    return [
        ("call", number, "model", 1.5, None, f"é🌍#{number}", "scripted/one", 9, 1, 0.00001) for number in range(count)
    ]


def row(store: JobStore, clock: HandSetClock) -> Job:
    return claimed(store, submitted(store, clock), clock)


def test_a_rows_log_is_read_back_as_it_was_saved(store: JobStore, clock: HandSetClock) -> None:
    job = transitions.submit("an-id", "acme", INPUT, clock(), POLICY)
    job = store.create(logged(None, job, clock()), INPUT)
    running = transitions.claim(job, "me", "crew-1", clock(), POLICY)
    running = begin_task(with_call(logged(job, running, clock()), call_of(), clock()), 1, "é", "🌍", 1, 2, clock())
    store.save(job, running)
    assert loaded(store, job.id).job == running
    assert [event.what.value for event in event_log_of(store, running)] == [
        "submitted",
        "claimed",
        "call",
        "task_started",
    ]


def test_stored_entries_are_read_back_in_order_from_any_number(store: JobStore, clock: HandSetClock) -> None:
    job = row(store, clock)
    whole = entries(200)
    for each in reversed(list(events.in_rows(1, whole))):
        store.put_events(job, each)
    job = job.model_copy(update={"log_from": 201})
    assert [event.number for event in event_log_of(store, job)] == list(range(1, 201))
    for after in (0, 63, 64, 65, 127, 128, 199, 200):
        assert [event.number for event in event_log_of(store, job, after)] == list(range(after + 1, 201))
    found = {number: each for first, some in store.events(job) for number, each in enumerate(some, first)}
    assert [tuple(found[number]) for number in sorted(found)] == whole


def test_of_two_rows_with_the_same_first_entry_the_longer_one_stays(store: JobStore, clock: HandSetClock) -> None:
    job = row(store, clock)
    for count in (2, 5, 5, 3):
        store.put_events(job, EventRow(1, entries(count)))
    ((first, found),) = store.events(job.model_copy(update={"log_from": 6}))
    assert (first, len(found)) == (1, 5)


def test_the_rows_of_one_job_are_not_anothers(store: JobStore, clock: HandSetClock) -> None:
    one, other = row(store, clock), row(store, clock)
    store.put_events(one, EventRow(1, entries(2)))
    assert list(store.events(other.model_copy(update={"log_from": 6}))) == []


def test_a_job_does_not_have_the_events_of_an_expired_one_of_its_id(store: JobStore, clock: HandSetClock) -> None:
    """DynamoDB may take days to delete the expired rows."""
    old = row(store, clock)
    store.put_events(old, EventRow(1, entries(9)))
    store.put_events(old, EventRow(10, entries(9)))
    store.save(old, transitions.cancel(old, clock()))
    clock.now = old.expires_at
    new = claimed(store, submitted(store, clock, job_id=old.id), clock)
    store.put_events(new, EventRow(1, entries(3)))
    assert [(first, len(found)) for first, found in store.events(new.model_copy(update={"log_from": 20}))] == [(1, 3)]


def test_rows_that_earlier_versions_put_are_read_with_todays(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    job = row(store, clock)
    item = rows.events_item(job, EventRow(1, entries(2)))
    storage.dynamodb.put_item(TableName=storage.table, Item=item | {"sk": {"S": "EVENTS#00000001"}})
    store.put_events(job, EventRow(3, entries(2)))
    found = store.events(job.model_copy(update={"log_from": 5}))
    assert [(first, len(some)) for first, some in found] == [(1, 2), (3, 2)]
