"""The file: its format, earlier and later ones, files that are none of ours, damage, a full disk, backups."""

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from crewrelay.jobs.errors import Misconfigured, Unavailable
from crewrelay.jobs.records import transitions
from crewrelay.sqlite import schema
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.folder import locked, restore
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.sqlite.times import microseconds
from crewrelay.sqlite.tokens import SqliteTokens
from tests.support.fixtures import HandSetClock
from tests.support.stored_jobs import ANSWER, INPUT, POLICY, call_of, claimed, completed, loaded, submitted

NEXT = (*schema.MIGRATIONS, "CREATE TABLE later (number INTEGER); INSERT INTO later SELECT count(*) FROM jobs")


def test_a_file_of_the_version_before_is_brought_forward_with_its_jobs(
    database: Database, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(SqliteJobStore(database, clock), clock)
    monkeypatch.setattr(schema, "MIGRATIONS", NEXT)
    later = Database(database.path)
    assert loaded(SqliteJobStore(later, clock), job.id).job == job
    with later.reading() as connection:
        assert connection.execute("SELECT number FROM later").fetchone()["number"] == 1


def test_a_token_of_the_first_version_names_no_collection(
    tmp_path: Path, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    first = Database(tmp_path / "first.db")
    later = microseconds(clock() + timedelta(days=1))
    with first.writing() as connection:
        connection.execute("INSERT INTO tokens VALUES ('d', 'acme', 'run read', 1, ?, NULL)", (later,))
    monkeypatch.undo()
    token = SqliteTokens(Database(first.path), clock).find("d")
    assert token is not None
    assert (token.tenant, token.collections) == ("acme", ())


def test_a_migration_that_dies_leaves_the_file_as_it_was(
    database: Database, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(SqliteJobStore(database, clock), clock)
    monkeypatch.setattr(schema, "MIGRATIONS", (*NEXT[:-1], "CREATE TABLE later (number); SELECT nonsense"))
    with pytest.raises(Misconfigured, match="nonsense"):
        Database(database.path)
    monkeypatch.undo()
    assert loaded(SqliteJobStore(Database(database.path), clock), job.id).job == job


def test_a_file_of_a_newer_version_is_refused_and_left(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.writing() as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(Misconfigured, match="newer crewrelay"):
        Database(database.path)


def test_a_file_of_another_program_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE jobs (name)")
    before = path.read_bytes()
    with pytest.raises(Misconfigured, match="another program"):
        Database(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_file_is_said_and_never_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match=r"damaged|another program"):
        Database(path)
    assert path.read_bytes() == content


def test_a_page_that_is_damaged_is_found_by_the_check(database: Database, clock: HandSetClock) -> None:
    store = SqliteJobStore(database, clock)
    for _ in range(50):
        submitted(store, clock)
    assert database.check() == "ok"
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database.path.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)
    assert Database(database.path).check(quick=True) != "ok"


def test_a_full_disk_refuses_what_is_new_keeps_what_was_accepted_and_goes_on(
    database: Database, clock: HandSetClock
) -> None:
    store = SqliteJobStore(database, clock)
    kept = submitted(store, clock)
    with database.reading() as connection:  # the only connection: a limit of its own is what a full disk is
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for _ in range(200):
            submitted(store, clock)

    with pytest.raises(Unavailable, match="disk is full"):
        fill()
    assert loaded(SqliteJobStore(Database(database.path), clock), kept.id).job == kept
    assert submitted(SqliteJobStore(Database(database.path), clock), clock)


def test_a_backup_holds_everything_and_overwrites_nothing(database: Database, clock: HandSetClock) -> None:
    store = SqliteJobStore(database, clock)
    running = claimed(store, submitted(store, clock), clock)
    store.save(running, completed(store, running, clock))
    copy = database.path.with_name("copy.db")
    with database.writing() as connection:  # while somebody writes
        connection.execute("UPDATE jobs SET due_at = due_at")
        database.backup(copy)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert loaded(SqliteJobStore(Database(copy), clock), running.id) == loaded(store, running.id)
    with pytest.raises(Misconfigured, match="exists"):
        database.backup(copy)


def test_a_backup_that_can_not_be_written_says_so_and_leaves_nothing(database: Database, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"can't write .*No such file"):
        database.backup(tmp_path / "absent/copy.db")
    (tmp_path / "copy.db-journal").mkdir()  # SQLite can't make its journal
    with pytest.raises(Misconfigured, match="can't copy"):
        database.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_backup_in_place_of_the_file_is_not_mixed_with_the_log_beside_it(
    database: Database, clock: HandSetClock, tmp_path: Path
) -> None:
    store = SqliteJobStore(database, clock)
    kept, killed = submitted(store, clock), tmp_path / "killed"
    database.backup(tmp_path / "copy.db")
    for _ in range(100):
        submitted(store, clock)
    shutil.copytree(tmp_path, killed)  # as a process that was killed leaves it
    assert (killed / "jobs.db-wal").stat().st_size > 0
    (killed / "copy.db").rename(killed / "jobs.db")
    restored = Database(killed / "jobs.db")
    assert restored.check() == "ok"
    with restored.reading() as connection:
        assert [row["id"] for row in connection.execute("SELECT id FROM jobs")] == [kept.id]


def test_who_closes_last_leaves_all_in_the_one_file(database: Database, clock: HandSetClock, tmp_path: Path) -> None:
    kept = submitted(SqliteJobStore(database, clock), clock)
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.db"]
    assert loaded(SqliteJobStore(database, clock), kept.id).job == kept


def test_expired_jobs_are_deleted_with_all_that_they_had(database: Database, clock: HandSetClock) -> None:
    store = SqliteJobStore(database, clock)
    for _ in range(120):
        job = submitted(store, clock)
        store.save(job, transitions.cancel(job, clock()))
    clock.now += POLICY.keep / 2
    kept = submitted(store, clock)
    clock.now += POLICY.keep / 2
    assert [store.delete_expired(), store.delete_expired(), store.delete_expired()] == [100, 20, 0]
    with database.reading() as connection:
        assert [row["job_id"] for row in connection.execute("SELECT job_id FROM inputs")] == [kept.id]
    assert loaded(store, kept.id).input == INPUT


def test_a_wrong_clock_neither_hides_nor_deletes_an_unfinished_job(database: Database, clock: HandSetClock) -> None:
    """It may have been accepted before the clock was set, or be looked at while the clock is wrong."""
    store = SqliteJobStore(database, clock)
    job = submitted(store, clock)
    clock.now += 10 * POLICY.keep
    assert store.delete_expired() == 0
    assert loaded(store, job.id).job == job
    store.save(job, transitions.cancel(job, clock()))
    assert store.load(job.id) is None
    assert store.delete_expired() == 1


def test_what_comes_after_its_job_is_deleted_stays_nowhere(database: Database, clock: HandSetClock) -> None:
    store = SqliteJobStore(database, clock)
    job = claimed(store, submitted(store, clock), clock)
    with database.writing() as connection:
        connection.execute("DELETE FROM jobs")
    store.put_call(job, call_of())
    store.put_answer(job, ANSWER)
    with database.reading() as connection:
        for table in ("calls", "answers"):
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == []


def test_a_backup_is_restored_with_nothing_of_the_file_before(tmp_path: Path, clock: HandSetClock) -> None:
    with closing(Database(tmp_path / "jobs.db")) as first:
        old = submitted(SqliteJobStore(first, clock), clock)
        first.backup(tmp_path / "copy.db")
        new = submitted(SqliteJobStore(first, clock), clock)
        log = (tmp_path / "jobs.db-wal").read_bytes()
    (tmp_path / "jobs.db-wal").write_bytes(log)  # as a stack leaves it that was killed
    replaced = restore(tmp_path, tmp_path / "copy.db")
    assert replaced == tmp_path / "replaced-1"
    assert {path.name for path in replaced.iterdir()} == {"jobs.db", "jobs.db-wal"}
    store = SqliteJobStore(Database(tmp_path / "jobs.db"), clock)
    assert loaded(store, old.id).job == old
    assert store.load(new.id) is None
    assert Database(tmp_path / "jobs.db").check() == "ok"


@pytest.mark.parametrize("content", [b"nonsense" * 1000, None])
def test_what_is_no_backup_replaces_nothing(tmp_path: Path, clock: HandSetClock, content: bytes | None) -> None:
    with closing(Database(tmp_path / "jobs.db")) as database:
        job = submitted(SqliteJobStore(database, clock), clock)
    if content:
        (tmp_path / "copy.db").write_bytes(content)
    with pytest.raises(Misconfigured):
        restore(tmp_path, tmp_path / "copy.db")
    assert loaded(SqliteJobStore(Database(tmp_path / "jobs.db"), clock), job.id).job == job
    assert not [*tmp_path.glob("*.part*"), *tmp_path.glob("replaced-*")]


def test_a_folder_that_is_in_use_or_can_not_be_used_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path / "jobs"), pytest.raises(Misconfigured, match="another `crewrelay serve`"):
        restore(tmp_path / "jobs", tmp_path / "copy.db")
    with pytest.raises(BlockingIOError), locked(tmp_path / "jobs"):
        raise BlockingIOError  # of what is done in it
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="can't use the folder"), locked(tmp_path / "file"):
        pass


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_deleted_under_a_running_stack_takes_no_more_jobs(
    tmp_path: Path, clock: HandSetClock, replaced: bool
) -> None:
    """SQLite would go on writing into the deleted one, and all would be lost with the last process."""
    store = SqliteJobStore(Database(path := tmp_path / "jobs.db"), clock)
    job = submitted(store, clock)
    path.rename(tmp_path / "aside")
    if replaced:
        Database(path)
    with pytest.raises(Unavailable, match=r"^The file of jobs was deleted or replaced"):
        submitted(store, clock)
    with pytest.raises(Unavailable, match="deleted or replaced"):
        store.load(job.id)
    assert path.exists() == replaced
    path.unlink(missing_ok=True)
    (tmp_path / "aside").rename(path)
    assert loaded(store, job.id).job == job
