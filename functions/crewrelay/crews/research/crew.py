"""The built-in crew: a researcher who works from retrieved passages and a writer who answers with citations."""

from collections.abc import Callable
from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.llms.base_llm import BaseLLM
from crewai.project import CrewBase, agent, crew, task
from crewai.tools import BaseTool


@CrewBase
class ResearchCrew:
    """Inputs: `topic`, `language`."""

    # @CrewBase puts what the files hold in the place of their names, and collects agents and tasks.
    agents_config: Any = "config/agents.yaml"
    tasks_config: Any = "config/tasks.yaml"
    agents: list[BaseAgent]
    tasks: list[Task]

    def __init__(self, new_model: Callable[[], BaseLLM], search: BaseTool) -> None:
        self._new_model = new_model
        self._search = search

    @agent
    def researcher(self) -> Agent:
        return Agent(
            config=self.agents_config["researcher"], llm=self._new_model(), tools=[self._search], max_retry_limit=0
        )

    @agent
    def writer(self) -> Agent:
        return Agent(config=self.agents_config["writer"], llm=self._new_model(), max_retry_limit=0)

    @task
    def research(self) -> Task:
        return Task(config=self.tasks_config["research"])  # type: ignore[call-arg]

    @task
    def write(self) -> Task:
        return Task(config=self.tasks_config["write"])  # type: ignore[call-arg]

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential)


crew_class = ResearchCrew
