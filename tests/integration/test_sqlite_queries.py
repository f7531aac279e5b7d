"""No query of the engine reads a whole table: what it costs doesn't grow with the jobs that wait."""

import re
import sqlite3
from datetime import timedelta
from typing import Any

import pytest

from crewrelay.jobs.listing import Filter, Position
from crewrelay.jobs.records.job import Status
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.doorbell import SqliteDoorbell
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.sqlite.tokens import SqliteTokens
from tests.support.fixtures import HandSetClock
from tests.support.stored_jobs import FAILURE, call_of, claimed, completed, submitted


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every statement that is executed."""
    statements: set[str] = set()
    open_file = Database._open

    def traced(self: Database) -> sqlite3.Connection:
        connection = open_file(self)
        connection.set_trace_callback(statements.add)
        return connection

    monkeypatch.setattr(Database, "_open", traced)
    return statements


def test_every_query_has_its_index(asked: set[str], database: Database, clock: HandSetClock) -> None:
    store, doorbell = SqliteJobStore(database, clock), SqliteDoorbell(database, clock)
    job = claimed(store, submitted(store, clock), clock)
    store.put_call(job, call_of())
    list(store.journal(job)), store.entries(job)
    store.save(job, completed(store, job, clock))
    store.load(job.id)
    for status in (Status.PENDING, Status.RUNNING):
        list(store.due(status, clock() + timedelta(days=1)))
    store.unfinished("acme", 100)
    some = [job.id, *(f"another-{number}" for number in range(99))]
    store.jobs(some, "acme"), store.statuses(some, "acme")
    for wanted in (Filter(), Filter(Status.FAILED, "research", clock())):
        store.listed("acme", wanted, None, 10), store.listed("acme", wanted, Position.of(job), 10)
    store.end_damaged(job.id, FAILURE, clock(), clock())
    store.delete_expired()
    doorbell.ring(job.id)
    doorbell.waiting()
    doorbell.delete(doorbell.receive(10))
    SqliteTokens(database, clock).find("0" * 64)
    queries = {said for said in asked if re.match(r"SELECT|UPDATE|DELETE|INSERT", said)}
    assert len(queries) > 20
    plans = {said: plan_of(database, said) for said in queries}
    assert {
        said: plan for said, plan in plans.items() if re.search(r"SCAN (?!\(subquery|CONSTANT|sqlite_master)", plan)
    } == {}
    of_some = {plan for said, plan in plans.items() if " id IN (" in said}  # not by their tenant, who may have 100,000
    assert len(of_some) == 1
    assert all("jobs USING PRIMARY KEY (id=?)" in plan for plan in of_some)
    lists = {plan for said, plan in plans.items() if "ORDER BY created_at DESC" in said}
    assert {plan.partition(" (")[0] for plan in lists} == {"SEARCH jobs USING INDEX jobs_listed"}


def plan_of(database: Database, statement: str) -> str:
    with database.reading() as connection:
        rows: list[Any] = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    return "; ".join(row["detail"] for row in rows)
