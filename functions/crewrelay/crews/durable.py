"""Makes a crew one that can be resumed, or says why it can't be."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from crewai import Agent, Crew
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.tools import BaseTool

from crewrelay.crews.journaled import JournaledLLM, JournaledTool
from crewrelay.crews.search import SearchPassages
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.ports import Calls


def make_durable(crew: Crew, calls: Calls) -> Crew:
    """Puts the journal between the crew and its tools.

    Raises InvalidCrew, naming all that would make a resumed run ask other things than the first.
    """
    faults = list(_faults(crew))
    if faults:
        raise InvalidCrew(f"The crew can't be resumed: {'; '.join(faults)}.")
    for agent in crew.agents:
        agent.tools = [_journaled(tool, agent, calls) for tool in agent.tools or []]
    for task in crew.tasks:
        task.tools = [_journaled(tool, task.agent, calls) for tool in task.tools or []]
    return crew


def _journaled(tool: BaseTool, agent: BaseAgent | None, calls: Calls) -> BaseTool:
    if agent is None or isinstance(tool, SearchPassages | JournaledTool):  # the search journals its passages
        return tool
    return JournaledTool(tool, agent.llm, calls)  # type: ignore[arg-type]  # checked above


def _faults(crew: Crew) -> Iterator[str]:
    if crew.planning:
        yield "planning writes other prompts in every run: remove planning=True"
    if crew.memory:
        yield "memory is not the same in the next run: remove memory=True"
    if crew.manager_llm is not None and not isinstance(crew.manager_llm, JournaledLLM):
        yield "the manager's model is not journaled: build it with new_model()"
    for agent in filter(None, (*crew.agents, crew.manager_agent)):
        name = str(agent.role).strip()
        if getattr(agent, "memory", None):
            yield f"memory of {name} is not the same in the next run: remove it"
        if not isinstance(agent.llm, JournaledLLM):
            yield f"the model of {name} is not journaled: build it with new_model()"
        if isinstance(agent, Agent):
            if agent.inject_date:
                yield f"inject_date of {name} puts another date into every run: remove it"
            if agent.planning or agent.planning_config:
                yield f"planning of {name} writes other prompts in every run: remove it"
    for task in crew.tasks:
        if task.human_input:
            yield f"nobody is there to answer: remove human_input of {task.name or 'a task'}"


@cache
def fingerprint(crew: str, model: str) -> str:
    """Of everything that decides what the crew asks: its definition, our code around it, CrewAI, the model."""
    here = Path(__file__).parent
    known = hashlib.sha256(f"{crew}\n{model}\ncrewai {version('crewai')}".encode())
    for path in sorted((*here.rglob("*.py"), *here.rglob("*.yaml"))):
        known.update(f"\n{path.relative_to(here)}\n".encode() + path.read_bytes())
    return known.hexdigest()[:16]
