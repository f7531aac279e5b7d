"""What takes the place of CrewAI's own parts: see tuning.py, which puts them in."""

import json
import os
import re
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from crewai import Task
from crewai.agents.agent_executor import AgentExecutorState
from crewai.flow.persistence.sqlite import SQLiteFlowPersistence
from crewai.flow.runtime import FlowState
from crewai.utilities.converter import Converter
from crewai.utilities.llm_utils import _llm_via_environment_or_fallback
from crewai.utilities.planning_handler import CrewPlanner

from crewrelay.crews.journal import ambient
from crewrelay.crews.journal.humans import without_addresses

T = TypeVar("T")

_default_model = _llm_via_environment_or_fallback
_save_file = Task._save_file
_tasks_summary = CrewPlanner._create_tasks_summary


class ExecutorState(FlowState, AgentExecutorState):
    """The state of an agent's executor, with the id that CrewAI otherwise adds by a class made for each run."""


def in_process_locks() -> Callable[..., AbstractContextManager[None]]:
    """A lock for each name, for the threads of this process."""
    locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    @contextmanager
    def lock(name: str, *, timeout: float = 120) -> Iterator[None]:
        with locks[name]:
            yield

    return lock


class NoTaskOutputs:
    """A store of task outputs that keeps nothing."""

    def __init__(self, db_path: str | None = None) -> None: ...

    def add(self, *args: Any, **kwargs: Any) -> None: ...

    def update(self, *args: Any, **kwargs: Any) -> None: ...

    def load(self) -> list[dict[str, Any]]:
        return []

    def delete_all(self) -> None: ...


def save_file(task: Task, result: Any) -> None:
    """The task's output_file, in the folder of the run."""
    workplace = ambient.workplace()
    if workplace is None or task.output_file is None:
        _save_file(task, result)
        return
    text = json.dumps(result, ensure_ascii=False, indent=2) if isinstance(result, dict) else str(result)
    workplace.write(task.output_file, text, create_directory=bool(task.create_directory))


def keep_no_states() -> None:
    """Persistence of flows' states in SQLite files: none is written, and none is found."""
    SQLiteFlowPersistence.init_db = lambda self: None  # type: ignore[method-assign]
    SQLiteFlowPersistence.save_state = lambda self, *args, **kwargs: None  # type: ignore[method-assign]
    SQLiteFlowPersistence.load_state = lambda self, flow_uuid: None  # type: ignore[method-assign]


def no_files(coroutine: Coroutine[None, None, Any]) -> None:
    """The result of every request to the store of input files: there are none."""
    coroutine.close()


def call_once(operation: Callable[[], T]) -> T:
    return operation()


async def acall_once(operation: Callable[[], Awaitable[T]]) -> T:
    return await operation()


def format_prompt(prompt: str, inputs: dict[str, str]) -> str:
    """All placeholders at once, so that braces in a value stay as they are."""
    return re.sub(r"\{(input|tool_names|tools)}", lambda match: inputs[match[1]], prompt)


def default_model() -> Any:
    """CrewAI's, if its own variables name one; else that of CREWRELAY_MODEL."""
    named = any(os.environ.get(variable) for variable in ("MODEL", "MODEL_NAME", "OPENAI_MODEL_NAME"))
    return (None if named else ambient.default_model()) or _default_model()


def tasks_summary(planner: CrewPlanner) -> str:
    """CrewAI's, without the addresses of functions, which differ between processes."""
    return without_addresses(_tasks_summary(planner))


def through_the_model(converter: Converter) -> "_ThroughTheModel":
    """Converts a text to JSON by the agent's own model, and so through the journal."""
    return _ThroughTheModel(converter)


class _ThroughTheModel:
    def __init__(self, converter: Converter) -> None:
        self._converter = converter

    def to_json(self) -> str:
        return self._converter.to_pydantic().model_dump_json()
