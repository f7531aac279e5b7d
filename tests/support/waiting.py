"""Waiting for a condition, never for time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], within: float, every: float = 0.05) -> T:
    """What the condition gives once it is true. Raises AssertionError if it isn't within so many seconds."""
    end = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {within} s: {condition}"
        time.sleep(every)
