"""`make bench`: what a job costs behind 1,000 and behind 100,000 pending ones, in one run on SQLite."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from uuid import uuid4

import pytest

from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.submission import Submission
from crewrelay.jobs.sweeper import Sweeper, Swept
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.doorbell import SqliteDoorbell
from crewrelay.sqlite.store import SqliteJobStore, _columns
from crewrelay.system import utcnow

FEW, MANY, LOST, TIMES = 1_000, 100_000, 20, 300
POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "rain", "language": "en"})


class Backlog:
    """So many pending jobs that are due, each with its bell, and some whose lease has expired."""

    def __init__(self, path: Path, pending: int) -> None:
        self.database = Database(path)
        self.store = SqliteJobStore(self.database, utcnow)
        self.doorbell = SqliteDoorbell(self.database, utcnow)
        self.submission = Submission(self.store, self.doorbell, utcnow, lambda: str(uuid4()), POLICY, 1_000_000)
        self._fill(pending)

    def _fill(self, pending: int) -> None:
        long_ago = utcnow() - timedelta(hours=1)
        jobs = [transitions.submit(str(uuid4()), "acme", INPUT, long_ago, POLICY) for _ in range(pending)]
        jobs += [transitions.claim(job, "gone", "crew-1", long_ago, POLICY) for job in jobs[:LOST]]
        with self.database.writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO jobs VALUES (:id, :tenant, :status, :revision, :fence, :due_at, :unfinished,"
                " :expires_at, :job)",
                [_columns(job) for job in jobs],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO inputs VALUES (?, ?)", [(job.id, INPUT.model_dump_json()) for job in jobs]
            )
            connection.executemany(
                "INSERT OR REPLACE INTO bells VALUES (?, 0, NULL)", [(job.id,) for job in jobs[LOST:]]
            )

    def submit(self) -> None:
        self.submission.submit("acme", INPUT)

    def claim(self) -> None:
        records = self.doorbell.receive(1)
        record = self.store.load(records[0]["body"])
        assert record
        self.store.save(record.job, transitions.claim(record.job, "me", "crew-1", utcnow(), POLICY))
        self.doorbell.delete(records)

    def sweep(self) -> float:
        begun = time.perf_counter()
        swept = Sweeper(self.store, self.doorbell, utcnow, POLICY).sweep(utcnow() + timedelta(seconds=50))
        assert swept[Swept.RUNG] == LOST
        return time.perf_counter() - begun


def seconds(do: Callable[[], None]) -> float:
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


def test_a_job_behind_a_hundred_thousand_costs_what_it_costs_behind_a_thousand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, many = Backlog(tmp_path / "few.db", FEW), Backlog(tmp_path / "many.db", MANY)
    swept = {"few": few.sweep(), "many": many.sweep()}
    found: dict[str, list[list[float]]] = {
        name: [[], []]
        for name in ("submit", "claim")  # taken by turns, for the machine's speed changes
    }
    for _ in range(TIMES):
        for column, backlog in enumerate((few, many)):
            found["submit"][column].append(seconds(backlog.submit))
            found["claim"][column].append(seconds(backlog.claim))
    medians = {name: (median(a), median(b)) for name, (a, b) in found.items()}
    medians["sweep"] = (swept["few"], swept["many"])
    with capsys.disabled():
        print()
        for name, (a, b) in medians.items():
            print(f"{name:7} behind {FEW:,}: {a * 1000:.2f} ms, behind {MANY:,}: {b * 1000:.2f} ms, ratio {b / a:.2f}")
    assert all(b < 1.5 * a + 0.0005 for a, b in medians.values()), medians
