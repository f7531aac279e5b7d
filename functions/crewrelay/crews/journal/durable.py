"""Puts the journal between a crew and its tools, or says why the crew can't be resumed."""

import hashlib
from collections.abc import Collection, Iterator
from importlib.metadata import version
from typing import Any

from crewai import Crew
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.tools import BaseTool

from crewrelay.catalogue.options import NOT_TO_BE_RESUMED, REFUSED
from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.journal.journaled_tools import JournaledTool
from crewrelay.crews.journal.knowledge import RunKnowledge
from crewrelay.crews.journal.mcp_seam import is_of_the_platform
from crewrelay.crews.journal.memory import is_of_the_run
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.ports import Calls

# Raise it with every change of what a crew asks: search results, tools' results, call ids. A job in flight then starts
# afresh. tests/unit/test_prompts.py fails without it.
PROMPT_VERSION = 2


def make_durable(crew: Crew, calls: Calls) -> Crew:
    """Journal all tools of the crew, in place.

    Raises InvalidCrew with everything that would make a resumed run ask something else than the first.
    """
    faults = list(_faults(crew))
    if faults:
        raise InvalidCrew(f"The crew can't be resumed: {'; '.join(faults)}.")
    for agent in agents_of(crew):
        agent.tools = [_journaled(tool, agent.llm, calls) for tool in agent.tools or []]
    for task in crew.tasks:
        model = task.agent.llm if task.agent else _managers_model(crew)
        task.tools = [_journaled(tool, model, calls) for tool in task.tools or []]
    return crew


def agents_of(crew: Crew) -> list[BaseAgent]:
    """The agents of the crew, of its tasks, and the manager; each once."""
    agents = (*crew.agents, *(task.agent for task in crew.tasks), crew.manager_agent)
    return list({id(agent): agent for agent in agents if agent is not None}.values())


def _managers_model(crew: Crew) -> Any:
    return crew.manager_agent.llm if crew.manager_agent else crew.manager_llm


def _journaled(tool: BaseTool, model: Any, calls: Calls) -> BaseTool:
    if getattr(tool, "JOURNALS_ITSELF", False):
        return tool
    return JournaledTool(tool, model, calls)


def refused_options(crew: Crew, refused: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Each option that is switched on in the crew, its agents and tasks: see refused_of."""
    yield from refused_of(crew, "the crew", refused)
    for agent in agents_of(crew):
        yield from refused_of(agent, str(agent.role).strip(), refused)
    for task in crew.tasks:
        yield from refused_of(task, task.name or "a task", refused)


def refused_of(member: Any, name: str, refused: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Each option that is switched on, whose it is, and its effect."""
    options = vars(member)  # reading some of them as attributes warns of their deprecation
    for option in refused:
        if (value := options.get(option)) and not _lasts_for_the_run(option, value):
            if option != "mcps":
                yield option, name, REFUSED[option]
            elif hosted := list(filter(is_of_the_platform, value)):
                yield option, name, f"names {', '.join(hosted)}, of which only CrewAI's platform knows the address"


def _lasts_for_the_run(option: str, value: Any) -> bool:
    return is_of_the_run(value) if option == "memory" else isinstance(getattr(value, "storage", None), RunKnowledge)


def _faults(crew: Crew) -> Iterator[str]:
    yield from _refused_options(crew, "the crew")
    if crew.stream:
        yield "nobody reads its stream: remove stream=True"
    if crew.manager_llm is not None and not isinstance(crew.manager_llm, JournaledLLM):
        yield "the manager's model is not journaled: build it with new_model()"
    for agent in agents_of(crew):
        name = str(agent.role).strip()
        if not isinstance(agent.llm, JournaledLLM):
            yield f"the model of {name} is not journaled: build it with new_model()"
        yield from _refused_options(agent, name)


def _refused_options(member: Crew | BaseAgent, name: str) -> Iterator[str]:
    options = vars(member)  # reading some of them as attributes warns of their deprecation
    for option, effect in NOT_TO_BE_RESUMED.items():
        if options.get(option):
            yield f"{option} of {name} {effect}: remove it"
    model = options.get("function_calling_llm")
    if model is not None and not isinstance(model, JournaledLLM):
        yield f"function_calling_llm of {name} is not journaled: build it with new_model()"


def fingerprint(crew: str, definition: str, models: str) -> str:
    """Of what decides the crew's requests: its files' digest, its models, CrewAI and our own prompts."""
    known = f"{crew}\n{definition}\n{models}\ncrewai {version('crewai')}\nprompts {PROMPT_VERSION}"
    return hashlib.sha256(known.encode()).hexdigest()[:16]
