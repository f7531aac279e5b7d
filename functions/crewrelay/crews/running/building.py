"""Builds a CrewAI crew from its definition, for one job."""

from collections.abc import Callable, Mapping
from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.llms.base_llm import BaseLLM
from crewai.tools import BaseTool

from crewrelay.catalogue.definition import SEARCH, AgentPart, Definition, TaskPart
from crewrelay.catalogue.inputs import Value, filled_in
from crewrelay.crews.running.own_tools import own_tools

ModelOf = Callable[[str | None], BaseLLM]  # by name; None means CREWRELAY_MODEL


def build(definition: Definition, given: Mapping[str, Value], model_of: ModelOf, search: BaseTool) -> Crew:
    """Inputs are filled into the texts here, all at once. CrewAI fills in one after the other: it is given none."""
    crew, own = definition.card.crew, own_tools(definition.card.folder)

    def tools(names: list[str]) -> list[BaseTool]:
        return [search if name == SEARCH else own.new(name) for name in names]

    agents = {
        name: _agent(part, given, model_of(part.llm or crew.model), tools(part.tools))
        for name, part in definition.agents.items()
    }
    tasks: dict[str, Task] = {}
    for name, part in definition.tasks.items():
        agent = agents[part.agent] if part.agent else None
        context = None if part.context is None else [tasks[other] for other in part.context]
        tasks[name] = _task(name, part, given, agent, context, tools(part.tools))
    hierarchical = crew.process == "hierarchical"
    return Crew(
        agents=list(agents.values()),
        tasks=list(tasks.values()),
        process=Process.hierarchical if hierarchical else Process.sequential,
        manager_llm=model_of(crew.model) if hierarchical else None,
    )


def _agent(part: AgentPart, given: Mapping[str, Value], model: BaseLLM, tools: list[BaseTool]) -> Agent:
    options = part.model_dump(exclude={"role", "goal", "backstory", "llm", "tools", "verbose"}, exclude_none=True)
    return Agent(
        role=filled_in(part.role, given),
        goal=filled_in(part.goal, given),
        backstory=filled_in(part.backstory, given),
        llm=model,
        tools=tools,
        max_retry_limit=0,  # the job is retried instead, and replays its journal
        **options,
    )


def _task(
    name: str,
    part: TaskPart,
    given: Mapping[str, Value],
    agent: Agent | None,
    context: list[Task] | None,
    tools: list[BaseTool],
) -> Task:
    options: dict[str, Any] = {} if context is None else {"context": context}
    return Task(
        name=name,
        description=filled_in(part.description, given),
        expected_output=filled_in(part.expected_output, given),
        agent=agent,
        tools=tools,
        async_execution=part.async_execution,
        human_input=part.human_input,
        markdown=part.markdown,
        **options,
    )
