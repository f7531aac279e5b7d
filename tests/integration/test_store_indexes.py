"""What every job store promises of the jobs that are due, and of those that are unfinished."""

import uuid
from datetime import timedelta
from typing import Any

from crewrelay.aws import rows
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Status
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import FAILURE, INPUT, POLICY, claimed, completed, due_job_ids, loaded, submitted


def test_only_what_was_due_by_then_is_due(store: JobStore, clock: HandSetClock) -> None:
    early = [submitted(store, clock) for _ in range(3)]
    clock.pass_(seconds=1)
    submitted(store, clock)
    done = claimed(store, submitted(store, clock), clock)
    store.save(done, transitions.cancel(done, clock()))
    assert early[0].due_at is not None
    assert sorted(store.due(Status.PENDING, early[0].due_at)) == sorted(job.id for job in early)
    assert list(store.due(Status.PENDING, early[0].due_at - timedelta(milliseconds=1))) == []


def test_a_running_job_is_due_among_the_running_and_nowhere_else(store: JobStore, clock: HandSetClock) -> None:
    job = claimed(store, submitted(store, clock), clock)
    assert job.lease_until
    due = {status: list(store.due(status, job.lease_until)) for status in (Status.PENDING, Status.RUNNING)}
    assert due == {Status.PENDING: [], Status.RUNNING: [job.id]}
    store.save(job, transitions.relay(job, clock(), POLICY))
    later = clock() + timedelta(hours=1)
    due = {status: list(store.due(status, later)) for status in (Status.PENDING, Status.RUNNING)}
    assert due == {Status.PENDING: [job.id], Status.RUNNING: []}


def test_the_due_index_holds_the_jobs_that_are_owed_something_and_no_other(
    storage: Storage, clock: HandSetClock
) -> None:
    store = storage.store(clock)
    pending = submitted(store, clock)
    running = claimed(store, submitted(store, clock), clock)
    released = claimed(store, submitted(store, clock), clock)
    store.save(released, transitions.relay(released, clock(), POLICY))
    done = claimed(store, submitted(store, clock), clock)
    store.save(done, completed(store, done, clock))
    failed = claimed(store, submitted(store, clock), clock)
    store.save(failed, transitions.fail(failed, FAILURE, clock()))
    cancelled = submitted(store, clock)
    store.save(cancelled, transitions.cancel(cancelled, clock()))
    assert due_job_ids(storage) == {pending.id, running.id, released.id}


def test_jobs_are_counted_until_they_end_by_tenant_and_no_further_than_asked(
    store: JobStore, clock: HandSetClock
) -> None:
    jobs = [submitted(store, clock) for _ in range(3)]
    store.create(transitions.submit(str(uuid.uuid4()), "other", INPUT, clock(), POLICY), INPUT)
    assert [store.unfinished("acme", most) for most in (1, 2, 3, 4, 1000)] == [1, 2, 3, 3, 3]
    assert (store.unfinished("other", 10), store.unfinished("nobody", 10)) == (1, 0)
    running = claimed(store, jobs[0], clock)
    assert store.unfinished("acme", 10) == 3
    failed = transitions.fail(running, FAILURE, clock())
    store.save(running, failed)
    store.save(jobs[1], transitions.cancel(jobs[1], clock()))
    assert store.unfinished("acme", 10) == 1
    store.save(failed, transitions.retry(failed, clock(), POLICY))
    assert store.unfinished("acme", 10) == 2


def test_a_job_that_does_not_count_is_not_counted(store: JobStore, clock: HandSetClock) -> None:
    job = transitions.submit(str(uuid.uuid4()), "acme", INPUT, clock(), POLICY, capped=False)
    store.create(job, INPUT)
    assert store.unfinished("acme", 10) == 0
    assert loaded(store, job.id).job == job


def test_counting_reads_index_entries_of_the_unfinished_alone(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    for number in range(8):
        job = submitted(store, clock)
        if number % 2:
            store.save(job, transitions.cancel(job, clock()))
    read: list[int] = []
    asked: list[dict[str, Any]] = []
    events = storage.dynamodb.meta.events
    events.register("provide-client-params.dynamodb.Query", lambda params, **_: asked.append(params))
    events.register("after-call.dynamodb.Query", lambda parsed, **_: read.append(parsed["ScannedCount"]))
    assert store.unfinished("acme", 3) == 3
    assert store.unfinished("acme", 100) == 4
    assert sum(read) == 3 + 4
    assert {params["Limit"] for params in asked} <= {1, 2, 3, *range(96, 101)}
    assert not [params for params in asked if "FilterExpression" in params]


def test_only_a_jobs_birth_and_end_write_to_the_index_of_the_unfinished(clock: HandSetClock) -> None:
    """A write that leaves an index's attributes alone is not billed for it."""
    pending = transitions.submit("an-id", "acme", INPUT, clock(), POLICY)
    running = transitions.claim(pending, "me", "crew-1", clock(), POLICY)
    lives = [pending, running, transitions.renew(running, clock(), POLICY), transitions.relay(running, clock(), POLICY)]
    assert len({rows.job_values(job)["unfinished"] for job in lives}) == 1
    assert rows.job_values(transitions.complete(running, clock()))["unfinished"] is None
