"""What every job store promises of the journal of a job."""

import json

from crewrelay.aws import rows
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.journal import Call, Receipt
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import POLICY, bodies, call_of, claimed, loaded, submitted, text_of_compressed_size


def test_a_fresh_jobs_journal_is_empty(store: JobStore, clock: HandSetClock) -> None:
    assert list(store.journal(submitted(store, clock))) == []


def test_calls_come_back_as_they_were_kept_and_no_other_jobs(store: JobStore, clock: HandSetClock) -> None:
    job, other = submitted(store, clock), submitted(store, clock)
    calls = [call_of("one"), call_of("two", nth=1), call_of("Grüße 🌍", digest="e" * 64)]
    assert [store.put_call(job, call) for call in calls] == calls
    store.put_call(other, call_of("another's"))
    assert sorted(store.journal(job), key=str) == sorted(calls, key=str)


def test_a_call_that_stands_is_adopted(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    store.put_call(job, call_of("the first"))
    assert store.put_call(job, call_of("the second")) == call_of("the first")
    assert list(store.journal(job)) == [call_of("the first")]


def test_a_call_is_kept_though_the_lease_is_lost(store: JobStore, clock: HandSetClock) -> None:
    first = claimed(store, submitted(store, clock), clock)
    clock.pass_(seconds=61)
    claimed(store, first, clock, "two")
    assert store.put_call(first, call_of()) == call_of()
    assert list(store.journal(first)) == [call_of()]


def test_the_calls_of_an_expired_job_are_nobodys(store: JobStore, clock: HandSetClock) -> None:
    old = submitted(store, clock)
    store.put_call(old, call_of("the old one's"))
    store.save(old, transitions.cancel(old, clock()))
    clock.now = old.expires_at
    new = submitted(store, clock, job_id=old.id)
    assert list(store.journal(new)) == []
    assert store.put_call(new, call_of("the new one's")) == call_of("the new one's")
    assert list(store.journal(new)) == [call_of("the new one's")]


def test_a_reply_of_any_size_is_kept(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    large = call_of(text_of_compressed_size(500_000))
    store.put_call(job, large)
    assert list(store.journal(job)) == [large]
    assert store.put_call(job, call_of("smaller")) == large


def test_a_long_journal_is_read_whole(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    calls = [call_of(text_of_compressed_size(100_000), nth=number) for number in range(15)]  # pages of 1 MB
    for call in calls:
        store.put_call(job, call)
    assert sorted(store.journal(job), key=lambda call: call.nth) == calls


def test_the_entries_are_the_calls_without_their_bodies(store: JobStore, clock: HandSetClock) -> None:
    job, other = submitted(store, clock), submitted(store, clock)
    calls = [call_of(text_of_compressed_size(500_000)), call_of("two", nth=1), call_of("three", digest="e" * 64)]
    for call in calls:
        store.put_call(job, call)
    store.put_call(other, call_of("another's"))
    assert sorted(store.entries(job), key=str) == sorted((call.without_body() for call in calls), key=str)
    clock.now = job.expires_at
    assert list(store.entries(job)) == []


def test_rows_from_before_costs_were_counted_can_be_read(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    running = claimed(store, submitted(store, clock), clock)
    paid = transitions.paid(running, Receipt(calls_paid=1, prompt_tokens=10, completion_tokens=5), clock(), POLICY)
    store.save(running, paid)
    reply = {"body": '"one"', "model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 5}
    call = {"digest": "d" * 64, "nth": 0, "kind": "model", "seconds": 1.5, "reply": reply}
    old = rows.body_item(running, f"CALL#{'d' * 64}#00000", bodies(storage).put(running.id, json.dumps(call)))
    storage.dynamodb.put_item(TableName=storage.table, Item=old)
    storage.dynamodb.update_item(
        TableName=storage.table, Key=rows.key(running.id, "JOB"), UpdateExpression="REMOVE receipt.cost_usd"
    )
    assert (loaded(store, running.id).job.receipt, list(store.journal(running))) == (
        paid.receipt,
        [Call.model_validate(call)],
    )
    store.put_call(running, call_of("two", nth=1))
    assert store.entries(running) == [Call.model_validate(call).without_body(), call_of("two", nth=1).without_body()]


def test_entries_are_read_without_bodies(storage: Storage, clock: HandSetClock) -> None:
    job = submitted(storage.store(clock), clock)
    for number in range(15):
        storage.store(clock).put_call(job, call_of(text_of_compressed_size(20_000), nth=number))
    answers: list[int] = []
    storage.dynamodb.meta.events.register(
        "after-call.dynamodb.Query", lambda http_response, **_: answers.append(len(http_response.content))
    )
    assert len(storage.store(clock).entries(job)) == 15
    assert sum(answers) < 15 * 1_000
