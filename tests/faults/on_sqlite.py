"""SQLite as an engine to be broken: a file that also keeps each transition, and faults at its transactions."""

import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from crewrelay.jobs.errors import Unavailable
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.job import Job
from crewrelay.settings import StoreSettings
from crewrelay.sqlite.database import FILE, Database
from crewrelay.sqlite.doorbell import SqliteDoorbell
from crewrelay.sqlite.intake import IntakeFolder
from crewrelay.sqlite.rejected import DONE, INTAKE
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.sqlite.times import microseconds
from crewrelay.system import utcnow
from crewrelay.wiring import on_sqlite
from tests.faults.engines import Dead
from tests.faults.injection import Fate, Faults, Write, die
from tests.faults.transitions import Transition

# In the file itself, so that whatever a transaction did is there with it, or is not.
_STORY = (
    "CREATE TABLE IF NOT EXISTS story (number INTEGER PRIMARY KEY, before TEXT, after TEXT NOT NULL)",
    "CREATE TRIGGER IF NOT EXISTS begins AFTER INSERT ON jobs BEGIN INSERT INTO story (after) VALUES (new.job); END",
    "CREATE TRIGGER IF NOT EXISTS goes_on AFTER UPDATE ON jobs WHEN new.job != old.job"
    " BEGIN INSERT INTO story (before, after) VALUES (old.job, new.job); END",
)


class OnSqlite:
    name = "SQLite"
    tries = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.variables: Mapping[str, str] = {"CREWRELAY_DATA": str(folder)}
        self._database = Database(folder / FILE)
        self.doorbell = SqliteDoorbell(self._database, utcnow)
        IntakeFolder(folder / INTAKE)
        with self._database.writing() as connection:
            for statement in _STORY:
                connection.execute(statement)

    def store(self, clock: Clock) -> SqliteJobStore:
        return SqliteJobStore(self._database, clock)

    def job_ids(self) -> list[str]:
        return [row["id"] for row in self._read("SELECT id FROM jobs")]

    def rows(self) -> list[Any]:
        tables = ("jobs", "inputs", "answers", "calls")
        return [tuple(row) for table in tables for row in self._read(f"SELECT * FROM {table}")]

    def bells(self) -> list[str]:
        waiting = "SELECT job_id FROM bells WHERE visible_at <= ? LIMIT 10"
        return [row["job_id"] for row in self._read(waiting, microseconds(utcnow()))]

    def count_bells(self) -> int:
        counted = "SELECT job_id FROM bells WHERE visible_at <= ? OR receipt IS NOT NULL"
        return len(self._read(counted, microseconds(utcnow())))

    def dead_letters(self) -> list[Dead]:
        lines = [
            line for path in (self._folder / INTAKE / DONE).glob("*.rejected") for line in path.read_text().splitlines()
        ]
        return [Dead(said["body"], said["code"]) for said in map(json.loads, lines)]

    def transitions(self) -> dict[str, list[Transition]]:
        found: defaultdict[str, list[Transition]] = defaultdict(list)
        for row in self._read("SELECT before, after FROM story ORDER BY number"):
            before, after = row["before"], Job.model_validate_json(row["after"])
            found[after.id].append(Transition(Job.model_validate_json(before) if before else None, after))
        return found

    def renew_clients(self) -> None:
        on_sqlite.database.cache_clear()

    def close(self) -> None:
        assert self._database.check() == "ok"  # whatever the test did to its processes
        self._database.close()

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._database.reading() as connection:
            return connection.execute(query, values).fetchall()


def put_into_functions(faults: Faults) -> None:
    folder = StoreSettings.read().data
    assert folder
    put_into(on_sqlite.database(folder), faults)


def put_into(database: Database, faults: Faults) -> None:
    """A transaction is known by the method that asks for it."""
    begin = database.writing

    def writing(durable: bool = True) -> AbstractContextManager[sqlite3.Connection]:
        asking = sys._getframe(1).f_code.co_name
        fate = faults.fate_of(Write(asking)) if asking in set(Write) else None
        return _fated(begin(durable), fate) if fate else begin(durable)

    vars(database)["writing"] = writing


@contextmanager
def _fated(transaction: AbstractContextManager[sqlite3.Connection], fate: Fate) -> Iterator[sqlite3.Connection]:
    with transaction as connection:
        yield connection
        if fate is Fate.KILLED_BEFORE:
            die()
        if fate is Fate.REFUSED:
            raise sqlite3.OperationalError("refused by a test")
    if fate is Fate.KILLED_AFTER:
        die()
    raise Unavailable("lost by a test")
