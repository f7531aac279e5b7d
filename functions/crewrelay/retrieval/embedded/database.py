"""The SQLite file that holds the embedded collections: one writer at a time, any number of readers.

A change is one transaction, so that a crash leaves all of it or nothing. Each operation opens its own connection
(0.1 ms), which therefore belongs to one thread and to the current file, even if that was replaced. No write-ahead log:
readers would have to write, but their disk may be read-only.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

from crewrelay.jobs.errors import RetrievalMisconfigured, RetrievalUnavailable

_VERSION = 2
_SCHEMA = f"""
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: a recreated collection gets a new id
    name TEXT NOT NULL UNIQUE, embedder TEXT NOT NULL, dimension INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 0  -- counts changes: readers reload when it grows
);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    source TEXT NOT NULL, digest TEXT NOT NULL,
    UNIQUE (collection, source)
);
CREATE TABLE chunks (
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    id TEXT NOT NULL, title TEXT NOT NULL, url TEXT NOT NULL,
    heading TEXT NOT NULL, text TEXT NOT NULL, passage TEXT NOT NULL,
    vector BLOB NOT NULL,  -- float32, little-endian
    PRIMARY KEY (document, number)
);
PRAGMA user_version = {_VERSION};
"""


class Database:
    """Raises RetrievalUnavailable while another process locks the file, RetrievalMisconfigured if it can't be used."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def reading(self, timeout: timedelta) -> Iterator[sqlite3.Connection]:
        """A consistent snapshot of the file; empty if it does not exist."""
        with self._explained(), closing(self._snapshot(timeout)) as connection:
            yield connection

    @contextmanager
    def writing(self, timeout: timedelta) -> Iterator[sqlite3.Connection]:
        """A transaction, committed unless an error is raised. Creates the file if absent."""
        with self._explained():
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its journal files the same mode
            with closing(self._connected("rwc", timeout)) as connection:
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("BEGIN IMMEDIATE")
                if self._version(connection) == 0:
                    for statement in _SCHEMA.split(";")[:-1]:
                        connection.execute(statement)
                yield connection
                connection.execute("COMMIT")

    def _snapshot(self, timeout: timedelta) -> sqlite3.Connection:
        if self._file.exists():
            connection = self._connected("rw", timeout)  # falls back to read-only where the disk is
            try:
                connection.execute("BEGIN")
                if self._version(connection):
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        empty = sqlite3.connect(":memory:")
        empty.executescript(_SCHEMA)
        return empty

    def _connected(self, mode: str, timeout: timedelta) -> sqlite3.Connection:
        address = f"{self._file.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(address, uri=True, timeout=timeout.total_seconds(), isolation_level=None)

    def _version(self, connection: sqlite3.Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise RetrievalMisconfigured(
                f"{self._file} is from another version of crewrelay: use that one, or set CREWRELAY_COLLECTIONS."
            )
        return version

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise RetrievalUnavailable(
                    f"Another process is writing to {self._file}; wait until it is done."
                ) from error
            raise RetrievalMisconfigured(f"{self._file} can't be used: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise RetrievalMisconfigured(f"{self._file} is damaged or not a collections file: {error}.") from error
        except OSError as error:
            raise RetrievalMisconfigured(f"{self._file} can't be used: {error.strerror or error}.") from error
