"""A job of which its process dies: put into a worker by the name of its topic."""

import os
import signal
from collections.abc import Callable
from typing import Any

from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.journal import Kind, Reply


class _Deadly:
    """The Calls port; the model's reply kills the process before it is journaled, while others wait for theirs."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        def die() -> Reply:
            pay()
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("dead")

        return self._calls.call(kind, request, die if kind is Kind.MODEL else pay)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._calls, name)


def poison(topic: str) -> None:
    """From now on, in this process, jobs on this topic kill it."""
    run = CrewRunner.run

    def deadly(self: CrewRunner, job_input: JobInput, calls: Calls) -> Answer:
        return run(self, job_input, _Deadly(calls) if job_input.inputs["topic"] == topic else calls)

    CrewRunner.run = deadly  # type: ignore[method-assign]
