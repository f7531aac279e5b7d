"""Faults at the writes of a process. Each engine puts them in at its own place; the product's code is as it ships."""

import os
import signal
import threading
from collections.abc import Callable
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of one write. On AWS it is that of one request; a retry of botocore's is a request of its own."""

    REFUSED = "refused"  # throttled, or the disk is full: nothing was written
    REPLY_LOST = "reply lost"  # it was written
    KILLED_BEFORE = "killed before"  # this process, with SIGKILL; on SQLite in the middle of the transaction
    KILLED_AFTER = "killed after"
    TIMED_OUT = "timed out"  # only on AWS: it never arrived
    CONFLICTED = "conflicted"  # only on AWS: with a transaction on the same item


class Write(StrEnum):
    """By the method of the port that makes it."""

    INPUT = "input"  # only on AWS, where it is a write of its own before CREATE
    CREATE = "create"
    SAVE = "save"
    PUT_CALL = "put_call"
    PUT_ANSWER = "put_answer"
    RING = "ring"
    DELETE = "delete"  # of bells


WRITES = tuple(set(Write) - {Write.DELETE})


class Faults:
    """Decides by kind and number what becomes of each write."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._rules: list[Callable[[Write], Fate | None]] = []

    def every(self, fate: Fate, *writes: Write) -> None:
        """From now on, until `mend`."""
        self._rules.append(lambda write: fate if write in writes else None)

    def the_next(self, fate: Fate, *writes: Write, times: int = 1) -> None:
        self.after(0, fate, *writes, times=times)

    def after(self, passed: int, fate: Fate, *writes: Write, times: int = 1) -> None:
        """The first `passed` of these go well, the next `times` meet their fate."""
        seen = 0

        def rule(write: Write) -> Fate | None:
            nonlocal seen
            seen += write in writes
            return fate if write in writes and passed < seen <= passed + times else None

        self._rules.append(rule)

    def mend(self) -> None:
        self._rules.clear()

    def fate_of(self, write: Write) -> Fate | None:
        with self._turn:
            return next(filter(None, [rule(write) for rule in self._rules]), None)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
