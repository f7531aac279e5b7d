"""The file: connections, transactions, and what its errors mean.

Every transaction is short. A reader never waits (WAL); writers take turns.
https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from crewrelay.jobs.errors import Misconfigured, Unavailable
from crewrelay.sqlite import schema
from crewrelay.sqlite.changes import Changes

_PATIENCE = 5.0  # seconds that a write waits for its turn
_CACHE = -4096  # KiB of pages per connection, as SQLite writes it
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
FILE = "jobs.db"


class Database:
    """Thread-safe; processes may share the file. Connections are opened as needed and kept."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or creates it. Raises Misconfigured if it can't be used; it is then left as it is."""
        self.path = path
        self.changes = Changes(self._open)
        self._idle: list[sqlite3.Connection] = []
        self._turn = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(0o600)  # SQLite gives its log the same mode
            _remove_log_of_another(path)
            with self._connection() as connection:
                schema.migrate(connection)  # first, for it refuses files that are not ours
                connection.execute("PRAGMA journal_mode = WAL")
        except (OSError, sqlite3.Error) as error:
            raise Misconfigured(_reason(path, error)) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading. Raises Unavailable."""
        with unavailable_if_it_fails(self.path), self._connection() as connection:
            yield connection

    @contextmanager
    def writing(self, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A write transaction, committed at the end of the block and rolled back by an error. Raises Unavailable.

        A durable one is on the disk before this returns, with all earlier ones. Another survives the end of every
        process, but a power failure may undo it.
        """
        with unavailable_if_it_fails(self.path), self._in_turn(), self._connection() as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Threads of this process queue here, which is fairer than SQLite's own waiting, but no longer than that."""
        if not self._turn.acquire(timeout=_PATIENCE):
            raise Unavailable(_busy(self.path))
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._idle.pop() if self._idle else self._open()
        try:
            yield connection
        except sqlite3.Error:
            connection.close()  # it may have been in the middle of something
            raise
        except BaseException:
            self._idle.append(connection)
            raise
        self._idle.append(connection)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA cache_size = {_CACHE}")
        return connection

    def backup(self, target: Path) -> None:
        """Copy the file while it is in use. A copy that is there is complete and consistent. Raises Misconfigured."""
        if target.exists():
            raise Misconfigured(f"{target} exists: name a file that doesn't")
        part, journal = (target.with_name(f"{target.name}.{ending}") for ending in ("part", "part-journal"))
        try:
            part.unlink(missing_ok=True)  # of a backup that was killed
            with self._connection() as connection, closing(sqlite3.connect(part)) as copy:
                connection.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
            part.rename(target)
        except (OSError, sqlite3.Error) as error:
            part.unlink(missing_ok=True)
            journal.unlink(missing_ok=True)
            raise Misconfigured(f"can't copy {self.path} to {target}: {error}") from error

    def close(self) -> None:
        """Close what is idle. Whoever closes last leaves all in the one file, without a log."""
        while self._idle:
            self._idle.pop().close()

    def check(self, *, quick: bool = False) -> str:
        """`ok`, or the first faults. A quick check doesn't compare indexes with their tables."""
        try:
            with self._connection() as connection:
                rows = connection.execute(f"PRAGMA {'quick' if quick else 'integrity'}_check(3)")
                return "; ".join(str(row[0]) for row in rows)
        except sqlite3.Error as error:
            return str(error)


@contextmanager
def unavailable_if_it_fails(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(_reason(path, error)) from error


def _remove_log_of_another(path: Path) -> None:
    """Where a backup was put in place of a file, SQLite would mix it with that one's log. A file with a log of its own
    says so in its header, and a backup doesn't. https://www.sqlite.org/fileformat2.html#file_format_version_numbers
    """
    logs = [path.with_name(f"{path.name}-{ending}") for ending in ("wal", "shm")]
    if not logs[0].exists():  # asked first: another process may be creating the file
        return
    with path.open("rb") as file:
        if file.read(20)[18:] == b"\1\1":
            for log in logs:
                log.unlink(missing_ok=True)


def _reason(path: Path, error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return f"{path} is damaged: {error}. Nothing was changed. Move it away, and put a backup in its place"
    if code in _FULL:
        return f"{path} can't be written, probably because the disk is full: {error}. Make room: then it goes on"
    if code == sqlite3.SQLITE_BUSY:
        return _busy(path)
    return f"{path} can't be used: {error}"


def _busy(path: Path) -> str:
    return f"{path} was busy for {_PATIENCE:.0f} s"
