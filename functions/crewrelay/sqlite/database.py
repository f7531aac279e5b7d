"""The file: connections, transactions, and what its errors mean.

Every transaction is short. A reader never waits (WAL); writers take turns.
https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from crewrelay.jobs.errors import Misconfigured, Unavailable
from crewrelay.sqlite import schema
from crewrelay.sqlite.changes import Changes, Watch

_BUSY_TIMEOUT = 5.0  # seconds that a write waits for its turn
_STUCK_TIMEOUT = 0.1  # while an earlier write has just waited in vain: threads are left for those who read
_CACHE = -1024  # KiB of pages per connection, as SQLite writes it; the system's cache has the file, too
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PUT_BACK = "Stop the stack, and put back a copy with `crewrelay restore`"
FILE = "jobs.db"


class Database:
    """Thread-safe; processes may share the file. Connections are opened as needed and kept."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or creates it. Raises Misconfigured if it can't be used; it is then left as it is."""
        self.path = path
        self.changes = Changes()
        self._idle: list[sqlite3.Connection] = []
        self._turn = threading.Lock()  # threads of this process queue here, which is fairer than SQLite's own waiting
        self._stuck = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                path.touch(0o600)  # SQLite gives its log the same mode
                sync(path.parent)
            self._inode = path.stat().st_ino
            _remove_log_of_another(path)
            with self._connection() as connection:
                schema.migrate(connection)  # first, for it refuses files that are not ours
                connection.execute("PRAGMA journal_mode = WAL")
        except (OSError, sqlite3.Error) as error:
            raise Misconfigured(f"{path} {_said(error)}") from error

    def close(self) -> None:
        """Close the connections that nobody uses. The last one moves the log into the file and deletes it."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading. Raises Unavailable."""
        with _unavailable_if_it_fails(), self._connection() as connection:
            yield connection

    @contextmanager
    def writing(self, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A write transaction, committed at the end of the block and rolled back by an error. Raises Unavailable.

        A durable one is on the disk before this returns, with all earlier ones. Another survives the end of every
        process, but a power failure may undo it.
        """
        end = time.monotonic() + (_STUCK_TIMEOUT if self._stuck else _BUSY_TIMEOUT)
        with _unavailable_if_it_fails(), self._its_turn(end), self._connection() as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute(f"PRAGMA busy_timeout = {max(0, int((end - time.monotonic()) * 1000))}")
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                self._stuck = _code(error) in _BUSY
                raise
            self._stuck = False
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _its_turn(self, end: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=max(0, end - time.monotonic())):
            raise Unavailable("The file of jobs is busy.")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self._require_same_file()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        try:
            yield connection
        except sqlite3.Error:
            connection.close()  # it may have been in the middle of something
            raise
        except BaseException:
            self._idle.append(connection)
            raise
        self._idle.append(connection)

    def _require_same_file(self) -> None:
        """What is written into a deleted file is lost when the last process ends, and SQLite does not notice."""
        try:
            same = self.path.stat().st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise Unavailable(f"The file of jobs was deleted or replaced under the running stack. {_PUT_BACK}.")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda text: text.decode(errors="replace")  # a damaged row is found by its reader
        connection.execute(f"PRAGMA cache_size = {_CACHE}")
        connection.execute("PRAGMA fullfsync = 1")  # of macOS, whose fsync leaves data in the disk's cache
        return connection

    def watch(self) -> Watch:
        """To be closed. Raises Unavailable."""
        with _unavailable_if_it_fails():
            return Watch(self._open, self.changes)

    def backup(self, target: Path) -> None:
        """Copy the file while it is in use. The copy is complete and consistent, and only its owner can read it. Raises
        Misconfigured.
        """
        try:
            target.touch(0o600, exist_ok=False)
        except FileExistsError:
            raise Misconfigured(f"{target} exists: name a file that doesn't") from None
        except OSError as error:
            raise Misconfigured(f"can't write {target}: {error}") from error
        try:
            with self._connection() as connection, closing(sqlite3.connect(target)) as copy:
                connection.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
            sync(target)
            sync(target.parent)
        except BaseException as error:
            for leftover in (target, target.with_name(f"{target.name}-journal")):
                with suppress(OSError):
                    leftover.unlink()
            if isinstance(error, OSError | sqlite3.Error):
                raise Misconfigured(f"can't copy {self.path} to {target}: {error}") from error
            raise

    def check(self, *, quick: bool = False) -> str:
        """`ok`, or the first faults in one line. A quick check doesn't compare indexes with their tables."""
        try:
            with self._connection() as connection:
                rows = connection.execute(f"PRAGMA {'quick' if quick else 'integrity'}_check(3)")
                return "; ".join(" ".join(str(row[0]).split()) for row in rows)
        except sqlite3.Error as error:
            return str(error)

    def refuse_damage(self, *, quick: bool = False) -> None:
        """Raises Misconfigured with what `check` finds."""
        if (found := self.check(quick=quick)) != "ok":
            raise Misconfigured(f"{self.path} is damaged: {found}. {_PUT_BACK}")


@contextmanager
def _unavailable_if_it_fails() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(f"The file of jobs {_said(error)}.") from error


def logs_of(path: Path) -> tuple[Path, Path]:
    """SQLite's write-ahead log of a file, and the log's index: https://www.sqlite.org/wal.html#the_wal_file"""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _remove_log_of_another(path: Path) -> None:
    """Where a backup was put in place of a file, SQLite would mix it with that one's log. A file with a log of its own
    says so in its header, and a backup doesn't. https://www.sqlite.org/fileformat2.html#file_format_version_numbers
    """
    logs = logs_of(path)
    if not logs[0].exists():  # asked first: another process may be creating the file
        return
    with path.open("rb") as file:
        if file.read(20)[18:] == b"\1\1":
            for log in logs:
                log.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what extends it


def _said(error: Exception) -> str:
    if _code(error) in _DAMAGED:
        return f"is damaged: {error}. Nothing was changed. {_PUT_BACK}"
    if _code(error) in _FULL:
        return f"can't be written, probably because the disk is full: {error}. Make room: then it goes on"
    if _code(error) in _BUSY:
        return "is busy"
    return f"can't be used: {error}"
