"""CrewAI's tasks as the run is told of them."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Process, Task

from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.testing import Unjournaled
from tests.support.doubles.openai_server import OpenAIServer, openai_server

Told = tuple[str, str, int, int]


class Telling(Unjournaled):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[Told | str] = []

    def begin_task(self, name: str, agent: str, number: int, of: int) -> None:
        self.told.append((name, agent, number, of))

    def end_task(self) -> None:
        self.told.append("end")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    tune_crewai()
    with openai_server() as server:
        yield server


def crew_of(server: OpenAIServer, **options: Any) -> Crew:
    model: Any = LLM(model="openai/gpt-4o-mini", base_url=server.url, api_key="none")
    agents = [Agent(role=role, goal="g", backstory="b", llm=model) for role in ("Reader", "Writer")]
    tasks = [
        Task(name="read", description="Read.", expected_output="a", agent=agents[0]),
        Task(description="Write a text.\nLong.", expected_output="b", agent=agents[1]),
    ]
    return Crew(agents=list(agents), tasks=tasks, **options)


WAYS: dict[str, Callable[[Crew], Any]] = {
    "kickoff": lambda crew: crew.kickoff(),
    "akickoff": lambda crew: asyncio.run(crew.akickoff()),
    "on a thread": lambda crew: asyncio.run(crew.kickoff_async()),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_tells_of_its_tasks(server: OpenAIServer, way: str) -> None:
    calls = Telling()
    with journaling(calls):
        WAYS[way](crew_of(server))
    assert calls.told == [("read", "Reader", 1, 2), "end", ("Write a text.", "Writer", 2, 2), "end"]


def test_a_managers_crew_tells_who_is_meant_to_work(server: OpenAIServer) -> None:
    calls = Telling()
    model: Any = LLM(model="openai/gpt-4o-mini", base_url=server.url, api_key="none")
    with journaling(calls):
        crew_of(server, process=Process.hierarchical, manager_llm=model).kickoff()
    assert [told[2:] for told in calls.told if told != "end"] == [(1, 2), (2, 2)]
    assert calls.told.count("end") == 2


def test_outside_of_a_run_nobody_is_told(server: OpenAIServer) -> None:
    assert crew_of(server).kickoff()
