"""CrewAI without the parts that crews/running/tuning.py replaces. What fails here after an upgrade is measured anew."""

import asyncio
import sqlite3
import subprocess
import sys
import uuid
from typing import Any

import crewai.events.event_context as event_context
import crewai.utilities.file_store as file_store
import crewai.utilities.task_output_storage_handler as task_outputs
import httpx
import openai
import portalocker
import pytest
from crewai import Agent, Crew, Task
from crewai.agents.agent_executor import AgentExecutor, AgentExecutorState
from crewai.events.base_events import BaseEvent
from crewai.events.event_bus import crewai_event_bus
from crewai_core.lock_store import lock
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from crewrelay.crews.journal.durable import make_durable
from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.testing import Unjournaled
from tests.support.crews import Shelf
from tests.support.doubles.crew import ScriptedModel
from tests.support.processes import ROOT
from tests.support.stack import environment


@pytest.fixture(autouse=True)
def tuned() -> None:
    tune_crewai()


def refused(*_: object, **__: object) -> None:
    raise AssertionError("CrewAI's own part was used")


def test_every_executors_state_is_of_one_class() -> None:
    executor: Any = AgentExecutor
    states = {type(executor(llm=ScriptedModel(), tools=[])._create_initial_state()) for _ in range(2)}
    assert len(states) == 1
    (state,) = states
    assert issubclass(state, AgentExecutorState)
    assert state().id


def test_a_look_for_input_files_makes_no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "run", refused)
    assert file_store.get_all_files(uuid.uuid4()) is None


def test_no_task_output_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "connect", refused)
    handler = task_outputs.TaskOutputStorageHandler()
    handler.reset()
    assert handler.load() == []


def test_a_lock_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portalocker, "Lock", refused)
    with lock("one"), lock("one"), lock("other"):
        pass


def test_a_throttled_call_is_not_repeated() -> None:
    response = httpx.Response(429, headers={"retry-after": "0"}, request=httpx.Request("POST", "http://127.0.0.1"))

    def throttle(_: Any) -> str:
        if len(model.asked) > 1:
            return "Here you are."
        raise openai.RateLimitError("slow down", response=response, body=None)

    model = ScriptedModel(throttle)
    with pytest.raises(openai.RateLimitError):
        model.call("one")
    assert model.asked == ["one"]


class City(BaseModel):
    name: str


def test_output_json_is_asked_of_the_agents_model() -> None:
    model, calls = ScriptedModel(lambda messages: "Ulm" if len(model.asked) == 1 else '{"name": "Ulm"}'), Unjournaled()
    agent = Agent(role="r", goal="g", backstory="b", llm=JournaledLLM(model, calls), max_retry_limit=0)
    task = Task(description="Name a city.", expected_output="A city.", agent=agent, output_json=City)
    output: Any = make_durable(Crew(agents=[agent], tasks=[task]), calls).kickoff()
    assert output.json_dict == {"name": "Ulm"}
    assert len(calls.paid) == len(model.asked) == 2


def test_a_failing_listener_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def listener(source: Any, event: BaseEvent) -> None:
        raise ValueError("my topic")

    crewai_event_bus._call_handlers(None, BaseEvent(type="one"), frozenset([listener]), None)
    assert capfd.readouterr() == ("", "")


def test_unpaired_events_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    event_context.handle_mismatch("llm_call_failed", "flow_started", "llm_call_started")
    event_context.handle_empty_pop("llm_call_failed")
    assert capfd.readouterr() == ("", "")


def test_an_estimate_of_tokens_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert ScriptedModel().get_input_tokens_count("x" * 40) == 10
    assert caplog.records == []


def test_the_models_that_answers_are_read_with_are_complete() -> None:
    CrewRunner(lambda *_: ScriptedModel(), Shelf())
    assert ChatCompletion.__pydantic_complete__


_FINISHED_BY_A_RUN = """
import os
import sys

from pydantic import BaseModel

from crewrelay.wiring.crews import crew_runner
from crewrelay.jobs.records.job import JobInput
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
