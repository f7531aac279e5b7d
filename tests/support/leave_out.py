"""Leaves out one replacement of crews/running/tuning.py after the other and runs the test that is to fail without it.
The short form leaves out every eighth; `FAULTS=long` all.

A pytest plugin, see tests/unit/test_replacements.py: it writes which tests failed into the file that REPORT names. The
tests are collected once; each trial is a fork.
"""

import gc
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.runner import runtestprotocol

if TYPE_CHECKING:
    from crewrelay.crews.running.tuning import Replacement

NOTHING = "nothing"
REPORT = "LEAVE_OUT_REPORT"
LONG_FORM = os.environ.get("FAULTS") == "long"
Trial = Callable[[], object]


def chosen() -> tuple["Replacement", ...]:
    """Those to leave out, one after the other."""
    from crewrelay.crews.running.tuning import REPLACEMENTS

    return REPLACEMENTS if LONG_FORM else REPLACEMENTS[::8]


def trials() -> dict[str, tuple[Trial, str]]:
    """How each replacement is left out, and its test."""
    from crewrelay.crews.journal import ambient
    from crewrelay.crews.models import models
    from crewrelay.crews.running import tuning

    def empty(function: Any, body: Any) -> None:
        function.__code__ = body.__code__  # wherever it is imported

    def build_without_clients() -> None:
        build = models._build
        models._build = lambda name, settings, clients: build(name, settings, {})

    on_objects: dict[str, Trial] = {
        "incomplete pydantic models": lambda: empty(tuning.complete_models, lambda: None),
        "_flow_listener_logged": lambda: empty(ambient.mark_as_logged, lambda error: None),
        "_token_usage": lambda: empty(models.copy_of, lambda model: model.model_copy()),
        "_client, of a model's copies": lambda: empty(models.for_one_call, lambda model, seconds: model),
        "_client, of Bedrock's": build_without_clients,
    }

    def left_out(one: tuning.Replacement) -> Trial:
        if one.put:
            others = tuple(other for other in tuning.REPLACEMENTS if other is not one)
            return lambda: setattr(tuning, "REPLACEMENTS", others)
        return next(trial for what, trial in on_objects.items() if one.what.startswith(what))

    return {one.what: (left_out(one), one.test) for one in chosen()}


def pytest_runtestloop(session: pytest.Session) -> bool:
    """In place of pytest's own: a fork for each trial, and one for all tests with nothing left out."""
    session.config.pluginmanager.getplugin("capturemanager").suspend_global_capture(in_=True)
    gc.freeze()  # else each fork copies what its garbage collection touches
    made = trials()
    items = {test: [item for item in session.items if _is_of(item, test)] for _, test in made.values()}
    failed = {what: _failed(leave_out, items[test]) for what, (leave_out, test) in made.items()}
    failed[NOTHING] = _failed(lambda: None, [cases[-1] for cases in items.values()])
    Path(os.environ[REPORT]).write_text(json.dumps(failed))
    return True


def _failed(leave_out: Trial, items: list[pytest.Item]) -> list[str]:
    """The tests that fail in a fork, up to the first."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        leave_out()
        os.write(writer, json.dumps(next(_failing(items), [])).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as told:
        failed: list[str] = json.load(told)
    os.waitpid(child, 0)
    return failed


def _failing(items: list[pytest.Item]) -> Iterator[list[str]]:
    for item, following in zip(items, [*items[1:], None], strict=True):
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
            yield [item.nodeid]


def _is_of(item: pytest.Item, test: str) -> bool:
    return item.nodeid.endswith(test) or f"{test}[" in item.nodeid


def table() -> str:
    """The replacements as docs/crewai.md shows them."""
    from crewrelay.crews.running.tuning import REPLACEMENTS

    rows = [f"| {one.what} | {one.why} | {one.upstream} | {one.goes_when} | `{one.test}` |" for one in REPLACEMENTS]
    return "\n".join(("| What | Why | Upstream | Goes when | Test |", "| --- | --- | --- | --- | --- |", *rows))


if __name__ == "__main__":
    print(table())
