"""`crewrelay doctor` on the folder of `crewrelay serve`."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from crewrelay.cli.commands import app
from crewrelay.cli.operate import checks as doctor
from crewrelay.sqlite import health
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.store import SqliteJobStore
from tests.support.fixtures import HandSetClock
from tests.support.stored_jobs import claimed, completed, submitted


class Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CREWRELAY_URL", "CREWRELAY_STACK", "CREWRELAY_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(doctor, "crew_checks", lambda: iter(()))  # of the rest of the environment


def told(*arguments: str, code: int = 0) -> dict[str, str]:
    """What was found of each part, after `ok` or `WRONG`."""
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return {line[7:29].strip(): f"{line[:5].strip()} {line[31:]}" for line in result.stdout.splitlines()}


def test_a_healthy_folder(database: Database, clock: HandSetClock) -> None:
    store = SqliteJobStore(database, clock)
    running = claimed(store, submitted(store, clock), clock)
    store.save(running, completed(store, running, clock))
    submitted(store, clock)
    found = told("--data", str(database.path.parent))
    assert found["jobs.db"].startswith(f"ok {database.path}: 0.")
    assert found["jobs.db"].endswith(" MB, no faults")
    assert found["disk"].endswith(" MB are free")
    assert found["unfinished jobs"] == "ok 1"


def test_the_default_folder_is_looked_at_if_it_holds_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".crewrelay").mkdir()  # of collections
    assert told() == {}
    Database(Path(".crewrelay/jobs.db"))
    assert told().keys() == {"jobs.db", "disk", "unfinished jobs"}


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = told("--data", str(tmp_path / "typo"), code=1)
    assert found["jobs.db"] == f"WRONG There is no {tmp_path}/typo/jobs.db: name the folder with --data"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free", "least"), [(400_000_000, 500_000_000), (60_000, 0)])
def test_a_disk_that_is_nearly_full(database: Database, monkeypatch: pytest.MonkeyPatch, free: int, least: int) -> None:
    """It should hold twice the file, and never have less than 500 MB free."""
    folder = database.path.parent
    needed = least or 2 * sum(file.stat().st_size for file in folder.glob("jobs.db*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(0, 0, free))
    monkeypatch.setattr(health, "_LEAST_FREE", least)
    disk = told("--data", str(folder), code=1)["disk"]
    assert disk.startswith(f"WRONG Only {free / 1e6:.1f} MB are free at {folder}, and {needed / 1e6:.1f} MB")
    assert "make room" in disk


def test_a_damaged_file(database: Database, clock: HandSetClock) -> None:
    store = SqliteJobStore(database, clock)
    for _ in range(50):
        submitted(store, clock)
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database.path.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)
    said = told("--data", str(database.path.parent), code=1)["jobs.db"]
    assert said.startswith(f"WRONG {database.path} is damaged: ")
    assert said.endswith("put back a copy with `crewrelay restore`")


def test_a_folder_and_a_stack_at_once_are_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--data", str(tmp_path), "--stack", "crewrelay"])
    assert result.exit_code == 1
    assert "not both" in result.stderr
