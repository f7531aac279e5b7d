"""Tests on a mutated product: in a process forked from one that has imported all but the product and its tests."""

import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import pytest

from tests.processes import ROOT

FUNCTIONS = ROOT / "functions"
_OURS = ("crewrelay", "tests", "conftest", "api", "run", "worker", "sweeper", "intake", "authorizer")
# Hypothesis' modules are there before pytest could rewrite their asserts, which it warns of.
_QUIET = [
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:unraisableexception",
]


class Outcome(StrEnum):
    KILLED = "killed"
    TIMED_OUT = "timed out"  # which is killed too
    SURVIVED = "survived"
    UNREACHED = "reached by no test"  # which is survived too


class Reach(NamedTuple):
    """What one test runs: lines of the product, by file. And how long it takes, in seconds."""

    seconds: float
    lines: dict[str, list[int]]


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        super().__init__(name, str(path))
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


class Mutated(MetaPathFinder):
    """Has one module imported as the given code."""

    def __init__(self, path: Path, code: CodeType) -> None:
        self._name = ".".join(path.relative_to(FUNCTIONS).with_suffix("").parts)
        self._path, self._code = path, code

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(name, _Loader(name, self._path, self._code)) if name == self._name else None


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


def forked(work: Callable[[], int], seconds: float) -> int:
    """A process that works for so many seconds at most; it says nothing."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)  # whose signal ends it
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        code = work()
    finally:
        os._exit(code)


def run_tests(tests: Sequence[str], plugins: Sequence[object]) -> int:
    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    return int(pytest.main([*_QUIET, *files], plugins=[Chosen(tests), *plugins]))


def outcome_of(status: int) -> Outcome:
    """Raises RuntimeError if no test was run."""
    if os.WIFSIGNALED(status):
        return Outcome.TIMED_OUT if os.WTERMSIG(status) == signal.SIGALRM else Outcome.KILLED
    code = os.WEXITSTATUS(status)
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError("of the chosen tests there is none")
    return Outcome.KILLED if code else Outcome.SURVIVED


def observe(test_files: Sequence[str], files: Iterable[Path], plugins: Sequence[object]) -> dict[str, Reach]:
    """Run all tests once, unmutated, and import here what they import, but the product and its tests.

    Raises RuntimeError if one fails.
    """
    reading, writing = os.pipe()

    def work() -> int:
        tracer = Tracer(files)
        code = int(pytest.main([*_QUIET, *test_files], plugins=[tracer, *plugins]))
        with os.fdopen(writing, "w") as pipe:
            json.dump([tracer.reached, list(sys.modules)], pipe)
        return code

    child = forked(work, 600)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the tests fail without a mutant: " + " ".join(test_files))
    reached, modules = json.loads(told)
    for module in modules:
        if module.partition(".")[0] not in _OURS:
            with suppress(ImportError):
                importlib.import_module(module)
    gc.collect()
    gc.freeze()
    return {test: Reach(*reach) for test, reach in reached.items()}
