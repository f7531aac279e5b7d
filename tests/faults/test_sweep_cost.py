"""A sweep reads what is due, whatever else the table holds."""

import os
import time
from datetime import timedelta
from typing import Any

import pytest

from crewrelay.aws import rows
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.sweeper import Sweeper, Swept
from crewrelay.system import new_id
from crewrelay.testing import MemoryDoorbell
from tests.support.fixtures import Figure, HandSetClock, Storage

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "neural networks", "language": "en"})
DUE = 40
LONG_FORM = os.environ.get("FAULTS") == "long"  # the emulator takes a minute to be filled with so many rows


def fill(storage: Storage, clock: HandSetClock, size: int) -> None:
    """Rows of jobs that nobody has to look at: half of them have ended, half are due later."""
    requests: list[Any] = []
    for number in range(size):
        job = transitions.submit(new_id(), "acme", INPUT, clock(), POLICY)
        job = transitions.cancel(job, clock()) if number % 2 else transitions.postpone(job, clock(), POLICY)
        requests.append({"PutRequest": {"Item": rows.key(job.id, "JOB") | rows.typed(rows.job_values(job))}})
    for start in range(0, size, 25):
        storage.dynamodb.batch_write_item(RequestItems={storage.table: requests[start : start + 25]})


@pytest.mark.parametrize("size", [1_000, 20_000] if LONG_FORM else [100, 400])
def test_a_sweep_reads_no_more_of_the_index_than_is_due(
    storage: Storage, clock: HandSetClock, size: int, figure: Figure
) -> None:
    store = storage.store(clock)
    for _ in range(DUE):
        store.create(transitions.submit(new_id(), "acme", INPUT, clock(), POLICY), INPUT)
    clock.pass_(hours=1)
    fill(storage, clock, size)
    pages: list[int] = []
    filters: list[str] = []

    def count(parsed: dict[str, Any], **_: Any) -> None:
        pages.append(len(parsed["Items"]))

    def look(params: dict[str, Any], **_: Any) -> None:
        filters.extend(name for name in params if name == "FilterExpression")

    # Without a filter what a query returns is what it read: DynamoDB bills no more.
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.html
    storage.dynamodb.meta.events.register("provide-client-params.dynamodb.Query", look)
    storage.dynamodb.meta.events.register("after-call.dynamodb.Query", count)
    bell = MemoryDoorbell()
    swept = Sweeper(store, bell, clock, POLICY).sweep(clock() + timedelta(minutes=1))
    figure(f"sweep of {size + DUE:,} rows: {sum(pages)} index items in {len(pages)} pages for {DUE} due jobs")
    assert swept[Swept.RUNG] == len(set(bell.rings)) == DUE
    assert not filters
    assert sum(pages) == DUE
    assert len(pages) == 3 * rows.DUE_SHARDS  # those of the running, the waiting and the pending


def fill_backlog(storage: Storage, clock: HandSetClock, pending: int, crashed: int) -> set[str]:
    """Jobs that are all due: pending ones, and some whose worker has died; the ids of these."""
    requests: list[Any] = []
    ids: set[str] = set()
    for number in range(pending + crashed):
        job = transitions.submit(new_id(), "acme", INPUT, clock(), POLICY)
        if number < crashed:
            job = transitions.claim(job, "dead", "crew-1", clock(), POLICY)
            ids.add(job.id)
            for sk in ("JOB", "INPUT"):
                values = rows.job_values(job) if sk == "JOB" else rows.plain(storage_input(storage, clock))
                requests.append({"PutRequest": {"Item": rows.typed(values) | rows.key(job.id, sk)}})
        else:
            requests.append({"PutRequest": {"Item": rows.key(job.id, "JOB") | rows.typed(rows.job_values(job))}})
    for start in range(0, len(requests), 25):
        storage.dynamodb.batch_write_item(RequestItems={storage.table: requests[start : start + 25]})
    return ids


def storage_input(storage: Storage, clock: HandSetClock) -> Any:
    """An INPUT row as the store writes it."""
    job = storage.store(clock).create(transitions.submit(new_id(), "other", INPUT, clock(), POLICY), INPUT)
    storage.dynamodb.delete_item(TableName=storage.table, Key=rows.key(job.id, "JOB"))
    key = rows.key(job.id, "INPUT")
    return storage.dynamodb.get_item(TableName=storage.table, Key=key)["Item"]


@pytest.mark.parametrize("pending", [1_000, 100_000] if LONG_FORM else [200, 500])
def test_behind_a_backlog_a_sweep_rings_for_lost_leases_and_reads_nothing_else(
    storage: Storage, clock: HandSetClock, pending: int, figure: Figure
) -> None:
    crashed = fill_backlog(storage, clock, pending, 20)
    clock.pass_(minutes=10)
    items: list[int] = []
    storage.dynamodb.meta.events.register(
        "after-call.dynamodb.Query", lambda parsed, **_: items.append(len(parsed["Items"]))
    )
    bell = MemoryDoorbell()
    bell.depth = pending
    sweeper = Sweeper(storage.store(clock), bell, clock, POLICY.model_copy(update={"enough_bells": 200}))
    begun = time.monotonic()
    swept = sweeper.sweep(clock() + timedelta(minutes=1))
    took = time.monotonic() - begun
    assert set(bell.rings) == crashed
    assert (swept, sum(items)) == ({Swept.RUNG: 20}, 20)
    figure(f"sweep behind {pending:,} pending jobs: all of 20 lost leases rung for in {took:.2f} s, 0 other bells")
