"""Wakes threads when any process has changed the file."""

import sqlite3
import threading
import time
from collections.abc import Callable

_POLL = 0.02  # seconds; asking takes microseconds: https://www.sqlite.org/pragma.html#pragma_data_version


class Changes:
    """A thread, started by the first `wait`, asks for all that wait."""

    def __init__(self, open_file: Callable[[], sqlite3.Connection]) -> None:
        self._open_file = open_file
        self._changed = threading.Condition()
        self._watching = False
        self.seen = 0  # grows with each change that was noticed

    def wait(self, seen: int, seconds: float) -> None:
        """Return once `self.seen` has grown beyond `seen`, or after so many seconds."""
        with self._changed:
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="changes", daemon=True).start()
            self._changed.wait_for(lambda: self.seen > seen, seconds)

    def _watch(self) -> None:
        try:
            connection = self._open_file()
            version = _version(connection)
            while True:
                time.sleep(_POLL)
                before, version = version, _version(connection)
                if version != before:
                    with self._changed:
                        self.seen += 1
                        self._changed.notify_all()
        finally:  # the next wait starts another
            self._watching = False


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)
