"""Wakes threads when another process has changed the file. One process asks for all of a stack (local/stack.py)."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_POLL = 0.04  # seconds; waking up costs ten times as much as looking


class Changes:
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen = 0
        self._listeners: set[Callable[[], None]] = set()

    def seen(self) -> int:
        """A number that grows with each change that is notified."""
        return self._seen

    def wait(self, seen: int, seconds: float) -> None:
        """Return once the number has grown beyond `seen`, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._seen > seen, seconds)

    async def after(self, seen: int, seconds: float) -> None:
        """As `wait`, without a thread."""
        told, loop = asyncio.Event(), asyncio.get_running_loop()

        def tell() -> None:
            loop.call_soon_threadsafe(told.set)

        with self._changed:
            if self._seen > seen:
                return
            self._listeners.add(tell)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), seconds)
        finally:
            with self._changed:
                self._listeners.discard(tell)

    def notify(self) -> None:
        with self._changed:
            self._seen += 1
            self._changed.notify_all()
            for tell in self._listeners:
                tell()


class Watch:
    """Looks whether any process has changed the file, which takes microseconds.

    https://www.sqlite.org/pragma.html#pragma_data_version
    """

    def __init__(self, open_file: Callable[[], sqlite3.Connection], changes: Changes) -> None:
        self._changes = changes
        self._connection = open_file()
        self._version = self._asked()
        self._closed = False
        self._turn = threading.Lock()

    def wait(self) -> None:
        """Return soon after the next change since the last call, or once this is closed. Those of this process who wait
        are told. A failed look counts as a change: those that are woken look as well, and report the reason.
        """
        while True:
            time.sleep(_POLL)
            with self._turn:
                if self._closed or self._has_changed():
                    return self._changes.notify()

    def close(self) -> None:
        with self._turn:
            self._closed = True
            self._connection.close()

    def _has_changed(self) -> bool:
        before = self._version
        try:
            self._version = self._asked()
        except sqlite3.Error:
            return True
        return self._version != before

    def _asked(self) -> int:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)
