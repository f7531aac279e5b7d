"""CrewAI is as crews/tuning.py takes it to be. What fails here after an upgrade is to be measured anew."""

import asyncio
import inspect
import subprocess
import sys
import uuid

import crewai.events.event_context as event_context
import crewai.utilities.file_store as file_store
import crewai.utilities.task_output_storage_handler as task_outputs
import pytest
from crewai.agents.agent_executor import AgentExecutor, AgentExecutorState
from crewai.events.event_bus import crewai_event_bus
from crewai.flow.runtime import FlowState
from crewai_core.lock_store import lock

from crewrelay.crews.tuning import _run_at_once, tune_crewai
from tests.support.processes import ROOT
from tests.support.stack import environment


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


def test_the_event_bus_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    tune_crewai()
    event_context.handle_mismatch("llm_call_failed", "flow_started", "llm_call_started")
    event_context.handle_empty_pop("llm_call_failed")
    crewai_event_bus._console.print("a listener failed: my topic")
    assert capfd.readouterr() == ("", "")


_FINISHED_BY_A_RUN = """
import os
import sys

from pydantic import BaseModel

import tests.conftest
from crewrelay.wiring.crews import crew_runner
from crewrelay.jobs.job import JobInput
from crewrelay.testing import Unjournaled
from tests.support.processes import listening


def unfinished(model=BaseModel):
    for subclass in model.__subclasses__():
        if not subclass.__pydantic_complete__:
            yield f"{subclass.__module__}.{subclass.__name__}"
        yield from unfinished(subclass)


with listening("tests.support.doubles.model_server") as port:
    os.environ["CREWRELAY_MODEL_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
    runner = crew_runner()
    runner.warm_up()
    before = set(unfinished())
    runner.run(JobInput(crew="research", inputs={"topic": "sorting", "language": "en"}), Unjournaled())
    print(sorted(before - set(unfinished())))
"""


def test_a_run_leaves_no_class_to_be_finished_that_threads_would_finish_at_once() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", _FINISHED_BY_A_RUN],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment(CREWRELAY_MODEL="openai/scripted", CREWRELAY_MODEL_API_KEY="test-key"),
    )
    assert printed.stdout.splitlines()[-1:] == ["[]"], printed
