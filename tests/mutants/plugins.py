"""What pytest is told here: not to run what it has collected, which tests to take, to keep which lines they run."""

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

# Without what the project's own settings add, and without a word.
QUIET = ["-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:xdist", "-x"]


class Collected:
    """Does this with the tests that pytest has collected, in place of running them."""

    def __init__(self, work: Callable[[pytest.Session], int]) -> None:
        self._work = work
        self.result = 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.result = self._work(session)
        return True


class Chosen:
    """Of the collected tests only these, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._place = {test: number for number, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._place]
        items.sort(key=lambda item: self._place[item.nodeid])


class SharedEmulator:
    """One for all, in place of one for each process."""

    def __init__(self, url: str) -> None:
        self._url = url

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> str | None:
        if fixturedef.argname != "emulator":
            return None
        fixturedef.cached_result = (self._url, fixturedef.cache_key(request), None)
        return self._url


class Reach(NamedTuple):
    """What one test runs: lines of the product, by file. And how long it takes, in seconds."""

    seconds: float
    lines: dict[str, list[int]]


class Tracer:
    """Keeps which lines of the given files each test runs."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = {str(file) for file in files}
        self._lines: set[tuple[str, int]] = set()
        self.reached: dict[str, Reach] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._lines = set()
        begun = time.monotonic()
        threading.settrace(self._called)
        sys.settrace(self._called)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            lines = defaultdict(list)
            for file, line in self._lines:
                lines[file].append(line)
            self.reached[item.nodeid] = Reach(time.monotonic() - begun, lines)

    def _called(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._ran if frame.f_code.co_filename in self._files else None

    def _ran(self, frame: FrameType, event: str, argument: object) -> Any:
        self._lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._ran
