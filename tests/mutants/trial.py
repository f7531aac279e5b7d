"""Tests on a mutated product, each time in a forked process: pytest collects once, and never sees a mutant itself."""

import ast
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from tests.mutants.operators import Mutant, mutants_of, put
from tests.mutants.plugins import QUIET, Chosen, Reach, Tracer
from tests.support.processes import ROOT

FUNCTIONS = ROOT / "functions"
_OURS = ("crewrelay", "tests", "api", "run", "worker", "sweeper", "intake", "authorizer")
_WORKERS = 2


class Outcome(StrEnum):
    KILLED = "killed"
    TIMED_OUT = "timed out"  # which is killed too
    SURVIVED = "survived"
    UNREACHED = "reached by no test"  # which is survived too


Tried = tuple[Mutant, Outcome]


class Trials:
    """The tests that a session of pytest has collected, and what each of them runs. `plugins` are the session's own."""

    def __init__(self, session: pytest.Session, files: Sequence[Path], plugins: Sequence[object]) -> None:
        self._session = session
        self._items = {item.nodeid: item for item in session.items}
        self._files = files
        self._plugins = plugins
        paths = {str(file) for file in files}
        functions = [each for each in gc.get_objects() if isinstance(each, FunctionType)]
        self._functions = [each for each in functions if each.__code__.co_filename in paths]
        self._reached = self._observed() if files else {}
        self._check()

    def every(self) -> Iterator[Tried]:
        """Every mutant with what became of it, as soon as it is known."""
        running: dict[int, Mutant] = {}
        for file in self._files:
            tree = ast.parse(file.read_text())
            for mutant in mutants_of(file, tree):
                tests = self._reaching(mutant)
                if not tests:
                    yield mutant, Outcome.UNREACHED
                    continue
                if len(running) == _WORKERS:
                    yield _ended(running)
                seconds = 10 + 5 * sum(self._reached[test].seconds for test in tests)
                running[_forked(lambda: self._try(mutant, tree, tests), seconds)] = mutant  # noqa: B023
        while running:
            yield _ended(running)

    def of(self, path: Path, code: CodeType, test: str) -> Outcome:
        """What becomes of this code for that file with one test, in all its variants."""
        tests = [each for each in self._items if each.partition("[")[0] == test]
        return self._outcome(lambda: self._imported_anew(path, code, tests), 60)

    def _outcome(self, work: Callable[[], int], seconds: float) -> Outcome:
        return outcome_of(os.waitpid(_forked(work, seconds), 0)[1])

    def _check(self) -> None:
        """Without a mutant every test passes here too, or whatever they say of one would be worth nothing."""
        path = FUNCTIONS / "crewrelay/jobs/records/transitions.py"
        code = compile(path.read_text(), path, "exec")
        tests = [test for test in self._items if test.startswith("tests/unit/")]
        if self._outcome(lambda: self._imported_anew(path, code, tests), 600) is not Outcome.SURVIVED:
            raise RuntimeError("the tests fail when they are imported anew")

    def _observed(self) -> dict[str, Reach]:
        reading, writing = os.pipe()

        def work() -> int:
            tracer = Tracer(self._files)
            self._session.config.pluginmanager.register(tracer)
            failed = self._collected(self._items)
            with os.fdopen(writing, "w") as pipe:
                json.dump(tracer.reached, pipe)
            return failed

        child = _forked(work, 900)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        if outcome_of(os.waitpid(child, 0)[1]) is not Outcome.SURVIVED:
            raise RuntimeError("the tests fail without a mutant")
        return {test: Reach(*reach) for test, reach in json.loads(told).items()}

    def _reaching(self, mutant: Mutant) -> list[str]:
        """The tests that may notice it, the most likely and the quickest first. What is run when its module is imported
        may be noticed by any.
        """
        lines, path = set(range(mutant.line, mutant.last_line + 1)), str(mutant.path)
        own = f"tests/unit/test_{mutant.path.stem}"
        in_domain = mutant.path.parent.name == "jobs"  # whose tests are quick
        tests = [test for test in self._reached if test.startswith("tests/unit/") or not in_domain]
        reached = [(test, self._reached[test].lines.get(path, [])) for test in tests]
        if mutant.in_function:
            found = {test: True for test, ran in reached if not lines.isdisjoint(ran)}
        else:
            found = {test: bool(ran) for test, ran in reached}
        return sorted(found, key=lambda test: (not test.startswith(own), not found[test], self._reached[test].seconds))

    def _try(self, mutant: Mutant, tree: ast.Module, tests: Sequence[str]) -> int:
        with put(mutant.place, mutant.node):
            code = compile(ast.fix_missing_locations(tree), mutant.path, "exec")
        if not mutant.in_function or not _put_in_place(self._functions, mutant.path, code):
            return self._imported_anew(mutant.path, code, tests)
        return self._collected(tests)

    def _collected(self, tests: Iterable[str]) -> int:
        """In this order, up to the first that fails."""
        items = [self._items[test] for test in tests]
        for item, following in zip_longest(items, items[1:]):
            self._session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._session.testsfailed:
                return int(pytest.ExitCode.TESTS_FAILED)
        return int(pytest.ExitCode.OK if items else pytest.ExitCode.NO_TESTS_COLLECTED)

    def _imported_anew(self, path: Path, code: CodeType, tests: Sequence[str]) -> int:
        """The product and its tests are imported once more, with this code for that file."""
        for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Mutated(path, code))
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        return int(pytest.main([*QUIET, *files], plugins=[Chosen(tests), *self._plugins]))


def _ended(running: dict[int, Mutant]) -> Tried:
    child, status = os.wait()
    return running.pop(child), outcome_of(status)


def _forked(work: Callable[[], int], seconds: float) -> int:
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


def outcome_of(status: int) -> Outcome:
    """Raises RuntimeError if no test was run."""
    if os.WIFSIGNALED(status):
        return Outcome.TIMED_OUT if os.WTERMSIG(status) == signal.SIGALRM else Outcome.KILLED
    code = os.WEXITSTATUS(status)
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError("of the chosen tests there is none")
    return Outcome.KILLED if code else Outcome.SURVIVED


def _put_in_place(functions: Iterable[FunctionType], path: Path, module: CodeType) -> bool:
    """The functions of this file get the code of the same ones in the module, whoever holds them by now; not so if one
    would need other variables of its surroundings.
    """
    code = {(each.co_qualname, each.co_firstlineno): each for each in _inside(module)}
    for function in functions:
        own = function.__code__
        if own.co_filename == str(path) and (own.co_qualname, own.co_firstlineno) in code:
            new = code[own.co_qualname, own.co_firstlineno]
            if new.co_freevars != own.co_freevars:
                return False
            function.__code__ = new
    return True


def _inside(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inside(constant)


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        super().__init__(name, str(path))
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


class _Mutated(MetaPathFinder):
    """Has one module imported as the given code."""

    def __init__(self, path: Path, code: CodeType) -> None:
        self._name = ".".join(path.relative_to(FUNCTIONS).with_suffix("").parts)
        self._path, self._code = path, code

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(name, _Loader(name, self._path, self._code)) if name == self._name else None
