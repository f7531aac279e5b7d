"""What CrewAI does in every run and need not, in a process that runs many crews at once.

Measured on 1.15.30, the version that is pinned; tests/unit/test_tuning.py fails where another one differs.
"""

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import crewai.events.event_context as event_context
import crewai.llms.base_llm as base_llm
import crewai.utilities.converter as converter
import crewai.utilities.file_store as file_store
import crewai.utilities.task_output_storage_handler as task_outputs
from crewai.agents.agent_executor import AgentExecutor
from crewai.events.event_bus import crewai_event_bus
from crewai.flow.runtime import FlowState
from crewai_core.lock_store import set_lock_backend
from pydantic import BaseModel

from crewrelay.crews.reading import read_in_linear_time

T = TypeVar("T")

# All of OpenAI's would take 2.5 s; these, which any model server's answers are read with, take 0.05.
_UNFINISHED = ("crewai.", "openai._base_client", "openai.types.chat", "openai.types.completion_usage")


@cache
def tune_crewai() -> None:
    """Call once, before the first crew is built."""
    set_lock_backend(_in_process_lock())
    read_in_linear_time()
    vars(task_outputs)["KickoffTaskOutputsSQLiteStorage"] = _NoTaskOutputs
    # Files as inputs: nine lookups a run, each with an event loop made for it, were a fifth of a run's CPU.
    vars(file_store).update(_file_store=None, _run_sync=_run_at_once)
    # An agent's executor makes its state's class anew in every run: a sixth of a run's CPU.
    executor: Any = AgentExecutor
    executor._initial_state_t = type("State", (FlowState, executor._initial_state_t), {"__module__": __name__})
    # It fills in one name after the other, and so what a caller wrote in braces, too.
    executor._format_prompt = staticmethod(_filled_in_at_once)
    # It repeats throttled calls by itself, asleep: here the job is given back and tried again later.
    vars(base_llm)["run_with_rate_limit_retry"] = lambda operation: operation()
    # For `output_json` it would ask the provider past the agent's model, and so past the journal.
    converter.Converter._create_instructor = lambda wanted: _ThroughTheModel(wanted)  # type: ignore
    # It prints, past every log, when its events don't pair or a listener of them fails, with whatever that one raised.
    for formatter in (crewai_event_bus._console, vars(event_context)["_console"]):
        formatter.console.quiet = True
    # It warns, at every call, that it can only estimate the tokens of a model it doesn't know by name.
    logging.getLogger("crewai.llms.base_llm").setLevel(logging.ERROR)


def complete_models() -> None:
    """Call before the first crew is run. CrewAI and OpenAI's SDK have pydantic finish some of their classes at their
    first use, and where two threads do so at once, one of them fails: a job in a few hundred, for good.
    https://github.com/pydantic/pydantic/issues/11849
    """
    for model in set(_subclasses(BaseModel)):
        if model.__module__.startswith(_UNFINISHED) and not model.__pydantic_complete__:
            model.model_rebuild(raise_errors=False)


def _subclasses(model: type[T]) -> Iterator[type[T]]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _in_process_lock() -> Any:
    """CrewAI's own are files, or Redis if REDIS_URL happens to be set: crews of one process wait for each other's."""
    locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    @contextmanager
    def lock(name: str, *, timeout: float = 120) -> Iterator[None]:
        with locks[name]:
            yield

    return lock


class _NoTaskOutputs:
    """Every kickoff wipes and rewrites one SQLite file that all crews share; nobody reads it here."""

    def __init__(self, db_path: str | None = None) -> None: ...

    def add(self, *args: Any, **kwargs: Any) -> None: ...

    def update(self, *args: Any, **kwargs: Any) -> None: ...

    def load(self) -> list[dict[str, Any]]:
        return []

    def delete_all(self) -> None: ...


def _filled_in_at_once(prompt: str, inputs: dict[str, str]) -> str:
    return re.sub(r"\{(input|tool_names|tools)}", lambda match: inputs[match[1]], prompt)


class _ThroughTheModel:
    def __init__(self, wanted: converter.Converter) -> None:
        self._wanted = wanted

    def to_json(self) -> str:
        return self._wanted.to_pydantic().model_dump_json()


def _run_at_once(coroutine: Coroutine[None, None, Any]) -> Any:
    """Run a coroutine that never waits, as those of a file store that isn't there."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("crews here take no files as inputs")
