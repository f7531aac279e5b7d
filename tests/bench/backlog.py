"""What a job costs behind 1,000 and behind 100,000 pending ones, in one run on SQLite."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.submission import Submission
from crewrelay.jobs.sweeper import Sweeper, Swept
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.doorbell import SqliteDoorbell
from crewrelay.sqlite.store import SqliteJobStore, _columns
from crewrelay.system import utcnow
from tests.bench.sizes import size

FEW, MANY, LOST, TIMES = 1_000, size(100_000, 5_000), 20, size(300, 20)
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
                " :expires_at, :job, :created_at, :crew)",
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


def measure(_: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        few, many = Backlog(Path(folder, "few.db"), FEW), Backlog(Path(folder, "many.db"), MANY)
        found = {"sweep": {"few_ms": few.sweep() * 1000, "many_ms": many.sweep() * 1000}}
        for name in ("submit", "claim"):
            taken: tuple[list[float], list[float]] = ([], [])
            for _turn in range(TIMES):  # by turns, for the machine's speed changes
                for seconds_of, backlog in zip(taken, (few, many), strict=True):
                    seconds_of.append(seconds(getattr(backlog, name)))
            found[name] = {"few_ms": median(taken[0]) * 1000, "many_ms": median(taken[1]) * 1000}
        few.database.close()
        many.database.close()
    rounded = {name: {key: round(value, 3) for key, value in one.items()} for name, one in found.items()}
    return {"few": FEW, "many": MANY, "lost": LOST, "operations": rounded}
