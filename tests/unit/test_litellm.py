"""Models that CrewAI asks through LiteLLM, which leaves event loops behind: hence a process of its own."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from crewrelay.crews.environment import CREW_ENVIRONMENT
from tests.support.processes import ROOT

CODE = """
import asyncio, json, os, sys
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from pydantic import BaseModel
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.models.failures import explain
from crewrelay.crews.models.metering import name_of
from crewrelay.crews.models.models import for_one_call
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.records.journal import Kind
from tests.support.doubles.openai_server import openai_server
from tests.support.fixtures import HandSetClock
from tests.support.runs import Attempts, reason

tune_crewai()

class City(BaseModel):
    name: str

@tool
def weather(city: str) -> str:
    "Tells the weather of a city."
    return f"rain in {city}"

def crew(model, **options):
    agent = Agent(role="Forecaster", goal="Forecast.", backstory="You look up.", llm=model, tools=[weather])
    return Crew(agents=[agent], tasks=[Task(description="Tell.", expected_output="A line.", agent=agent, **options)])

WAYS = {
    "a call": lambda model: model.call("Rain?"),
    "an asynchronous call": lambda model: asyncio.run(model.acall("Rain?")),
    "a crew with a tool": lambda model: crew(model).kickoff().raw,
    "output_pydantic": lambda model: crew(model, output_pydantic=City).kickoff().raw,
    "a shaped call": lambda model: str(model.call("City?", response_model=City)),
}
told = {}
with openai_server() as server:
    # For an answer in a shape, CrewAI has LiteLLM asked without what the model was built with.
    os.environ |= {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none"}
    known = {"model": "openai/gpt-4o-mini", "is_litellm": True, "base_url": server.url, "api_key": "none"}
    new = lambda **options: LLM(**known, **options)
    for stream in (False, True):
        for name, way in WAYS.items():
            server.asked.clear()
            attempts, answers = Attempts(HandSetClock()), []
            for _ in range(2):
                with journaling(attempts.start()):
                    answers.append(way(new(stream=stream)))
            paid = [call.reply for call in attempts.journal if call.kind is Kind.MODEL]
            told[f"{name}, stream={stream}"] = {
                "asked": len(server.asked), "paid": len(paid), "same": answers[0] == answers[1],
                "names": sorted({reply.model for reply in paid}), "tokens": min(reply.prompt_tokens for reply in paid),
            }
    server.asked.clear()
    server.failing = 503
    run = Attempts(HandSetClock()).start()
    try:
        with journaling(run):
            new().call("Rain?")
    except Exception:
        pass
    failed = {"asked": len(server.asked), "outage": explain(reason(run)).outage}
timeouts = [for_one_call(new(), 7).timeout, for_one_call(new(timeout=5), 7).timeout]
print(json.dumps({"told": told, "failed": failed, "timeouts": timeouts, "name": name_of(new())}))
"""


@pytest.fixture(scope="module")
def done() -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | CREW_ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    told: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return told


def test_what_reaches_the_server_is_journaled_and_asked_once(done: dict[str, Any]) -> None:
    for way, told in done["told"].items():
        # CrewAI itself asks twice for a streamed answer in a shape: as a text, and through Instructor.
        twice = way == "a shaped call, stream=True"
        assert told["asked"] == told["paid"] + twice, (way, told)
        assert told["paid"] > 0
        assert told["same"], way
        assert told["names"] == ["openai/gpt-4o-mini"], way
    assert len(done["told"]) == 10


def test_a_failing_call_is_made_once_and_told_as_an_outage(done: dict[str, Any]) -> None:
    assert done["failed"] == {"asked": 1, "outage": True}


def test_a_call_waits_no_longer_than_its_run(done: dict[str, Any]) -> None:
    assert done["timeouts"] == [7, 5]
    assert done["name"] == "openai/gpt-4o-mini"
