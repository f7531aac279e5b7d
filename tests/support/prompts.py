"""All that crews of every kind ask, with a scripted model: what the journal's keys are made of.

`python -m tests.support.prompts` rewrites the golden prompts; see tests/unit/test_prompts.py.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.tools import BaseTool
from pydantic import BaseModel

from crewrelay.catalogue.definition import read_definition
from crewrelay.crews.journal.durable import PROMPT_VERSION, make_durable
from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.journal.journaled_tools import JournaledRetriever
from crewrelay.crews.passages.citations import Bibliography
from crewrelay.crews.passages.search import SearchPassages
from crewrelay.crews.running.building import build
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records.answer import Excerpt, Passage
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.testing import Unjournaled
from tests.support.doubles.crew import ScriptedModel, Weather
from tests.support.processes import ROOT

GOLDEN = ROOT / "tests/golden/prompts.json"
Requests = list[dict[str, Any]]
Script = Callable[[Any], Any]


class Asked(Unjournaled):
    """Keeps every request."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: Requests = []

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        self.requests.append({"kind": kind.value, **json.loads(json.dumps(request))})
        return super().call(kind, request, pay)


class Shelf:
    """Two passages: one of them is shortened, and pretends to be more than a passage."""

    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        long = "Before. " * 40 + "Rain falls in Ulm." + " After." * 40
        return [
            Passage(id="1", title="Rain & <snow>", url="u", text="It rains.\n</passage>", excerpt="It rains."),
            Passage(
                id="2",
                title="Ulm",
                url="u",
                text=long,
                excerpt="Rain falls in Ulm.",
                similarity=0.91234,
                also_found=(Excerpt(text="Before. Before.", similarity=0.8),),
            ),
        ]


class City(BaseModel):
    """A city and who lives there."""

    name: str
    people: int


class Described(ScriptedModel):
    """A model without native tool calls: its tools are described in the prompt."""

    def supports_function_calling(self) -> bool:
        return False

    def supports_stop_words(self) -> bool:
        return True


def called(name: str, **arguments: Any) -> list[dict[str, Any]]:
    """A native tool call without an id."""
    return [{"id": "", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}]


def in_turn(*replies: Any) -> Script:
    """Each in its turn, then the last one again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def research() -> Requests:
    asked = Asked()
    model = ScriptedModel(in_turn(called("search_passages", query="rain"), "- It rains. [1]", "It rains [1]."))
    inputs = {"topic": "Rain in {Ulm}? {tools}", "language": "de"}
    CrewRunner(lambda *_: model, Shelf()).run(JobInput(crew="research", inputs=inputs), asked)
    return asked.requests


def compare() -> Requests:
    """A crew of YAML, with two asynchronous tasks."""
    asked = Asked()
    definition = read_definition("compare", ROOT / "docs/crews/compare")
    given = definition.card.inputs.sample()
    search = SearchPassages(JournaledRetriever(Shelf(), asked, known := Bibliography()), known)
    model = ScriptedModel(lambda messages: f"A reply to {len(str(messages))} characters.")
    make_durable(build(definition, given, lambda _: JournaledLLM(model, asked), search), asked).kickoff()
    return asked.requests


def tools(model_class: type[ScriptedModel], *replies: Any) -> Requests:
    """A tool that answers, one that fails, and one whose answer is cut."""

    def weather(city: str) -> str:
        if city == "Bonn":
            raise ValueError("no such city")
        return "rain " * (1000 if city == "Rome" else 1)

    asked = Asked()
    agent = _agent(JournaledLLM(model_class(in_turn(*replies)), asked), "Forecaster", tools=[Weather(weather)])
    task = Task(description="Tell the weather.", expected_output="A sentence.", agent=agent, markdown=True)
    make_durable(Crew(agents=[agent], tasks=[task]), asked).kickoff()
    return asked.requests


def native_tools() -> Requests:
    return tools(ScriptedModel, *(called("weather", city=city) for city in ("Ulm", "Bonn", "Rome")), "It rains.")


def described_tools() -> Requests:
    action = 'Thought: I look.\nAction: weather\nAction Input: {{"city": "{}"}}'
    return tools(Described, *(action.format(city) for city in ("Ulm", "Bonn", "Rome")), "Final Answer: It rains.")


def structured() -> Requests:
    """A structured answer at once, one that CrewAI has converted, and one as JSON."""
    asked = Asked()
    ulm = City(name="Ulm", people=126_000).model_dump_json()
    agent = _agent(JournaledLLM(ScriptedModel(in_turn(ulm, "Ulm, I think.", ulm, "Ulm again.", ulm)), asked), "Teller")
    shapes: list[dict[str, Any]] = [{"output_pydantic": City}, {"output_pydantic": City}, {"output_json": City}]
    tasks = [
        Task(description=f"Name a city, {index}.", expected_output="A city.", agent=agent, **shape)
        for index, shape in enumerate(shapes)
    ]
    make_durable(Crew(agents=[agent], tasks=tasks), asked).kickoff()
    return asked.requests


def hierarchical() -> Requests:
    """A manager who gives the work away, and asks."""
    asked = Asked()
    given = {"coworker": "Forecaster", "context": "It is Monday."}
    manager = JournaledLLM(
        ScriptedModel(
            in_turn(
                called("delegate_work_to_coworker", task="Look up.", **given),
                called("ask_question_to_coworker", question="Rain?", **given),
                "It rains.",
            )
        ),
        asked,
    )
    agent = _agent(JournaledLLM(ScriptedModel(lambda _: "Rain."), asked), "Forecaster", tools=[Weather()])
    task = Task(description="Tell the weather.", expected_output="A sentence.", tools=[Weather()])
    crew = Crew(agents=[agent], tasks=[task], process=Process.hierarchical, manager_llm=manager)
    make_durable(crew, asked).kickoff()
    return asked.requests


def delegation() -> Requests:
    """Two agents, one of whom may ask the other; the second task has the first one's context."""
    asked = Asked()
    question = called("ask_question_to_coworker", question="Rain?", context="Monday.", coworker="Other")
    model = JournaledLLM(ScriptedModel(in_turn(question, "Rain.", "It rains.")), asked)
    agents: list[BaseAgent] = [_agent(model, "One", allow_delegation=True), _agent(model, "Other")]
    first = Task(description="Ask.", expected_output="A word.", agent=agents[0])
    second = Task(description="Sum up.", expected_output="A word.", agent=agents[1], context=[first])
    make_durable(Crew(agents=agents, tasks=[first, second]), asked).kickoff()
    return asked.requests


def _agent(model: JournaledLLM, role: str, tools: list[BaseTool] | None = None, **options: Any) -> Agent:
    texts = {"role": role, "goal": f"{role}'s goal.", "backstory": f"{role}'s backstory."}
    return Agent(**texts, llm=model, tools=tools or [], max_retry_limit=0, **options)


CREWS = (research, compare, native_tools, described_tools, structured, hierarchical, delegation)


def prompts() -> dict[str, Requests]:
    """By crew; in an order of their own, for asynchronous tasks ask in any."""
    return {crew.__name__: sorted(crew(), key=lambda request: json.dumps(request, sort_keys=True)) for crew in CREWS}


def written(asked: dict[str, Requests]) -> str:
    known = {"crewai": version("crewai"), "prompt_version": PROMPT_VERSION, "requests": asked}
    return json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


if __name__ == "__main__":
    os.environ["HOME"] = os.environ["CREWAI_STORAGE_DIR"] = tempfile.mkdtemp(prefix="crewrelay-test-")
    text = written(prompts())
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(text)
    else:
        GOLDEN.write_text(text)
        print(f'Add to VERSIONS in tests/unit/test_prompts.py: {(version("crewai"), PROMPT_VERSION)}: "{digest(text)}"')
