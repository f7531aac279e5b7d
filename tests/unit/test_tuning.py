"""CrewAI is as crews/tuning.py takes it to be. What fails here after an upgrade is to be measured anew."""

import asyncio
import inspect
import subprocess
import sys
import uuid

import crewai.utilities.file_store as file_store
import crewai.utilities.task_output_storage_handler as task_outputs
import pytest
from crewai.agents.agent_executor import AgentExecutor, AgentExecutorState
from crewai.flow.runtime import FlowState
from crewai_core.lock_store import lock

from crewrelay.crews.tuning import _run_at_once, tune_crewai


def test_an_executors_state_is_of_one_class_in_every_run() -> None:
    tune_crewai()
    executor = AgentExecutor
    state = executor._initial_state_t  # type: ignore[attr-defined]
    assert issubclass(state, FlowState)
    assert issubclass(state, AgentExecutorState)
    source = inspect.getsource(AgentExecutor._create_initial_state)
    assert "issubclass(state_type, FlowState)" in source


def test_a_file_store_that_is_not_there_needs_no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    tune_crewai()

    def refused(*args: object, **kwargs: object) -> None:
        raise AssertionError("an event loop was made")

    monkeypatch.setattr(asyncio, "run", refused)
    assert file_store.get_all_files(uuid.uuid4()) is None


def test_a_coroutine_that_waits_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no files"):
        _run_at_once(asyncio.sleep(0))


def test_no_task_output_is_stored_and_no_lock_is_a_file() -> None:
    tune_crewai()
    assert task_outputs.TaskOutputStorageHandler().load() == []
    with lock("one"), lock("one"), lock("other"):
        pass


_UNFINISHED = """
from crewrelay.crews.models import model_factory
from crewrelay.settings import ModelSettings
from openai.types.chat import ChatCompletion, ChatCompletionMessage, ChatCompletionMessageFunctionToolCall

models = (ChatCompletion, ChatCompletionMessage, ChatCompletionMessageFunctionToolCall)
assert not any(model.__pydantic_complete__ for model in models)  # or there is nothing to finish any more
model_factory(ModelSettings(CREWRELAY_MODEL="openai/scripted", base_url="http://127.0.0.1:1/v1"))
print([model.__name__ for model in models if not model.__pydantic_complete__])
"""


def test_a_models_answers_need_no_class_that_threads_would_have_to_finish() -> None:
    printed = subprocess.run([sys.executable, "-c", _UNFINISHED], capture_output=True, text=True, check=False)
    assert printed.stdout == "[]\n", printed.stderr
