"""The crew that ships, built by CrewAI alone: without a journal, which is what crewrelay adds."""

from collections.abc import Callable
from functools import cache
from typing import Any

import yaml
from crewai import LLM, Agent, Crew, Task
from crewai.tools import BaseTool

from crewrelay.crews.passages.search import fenced
from crewrelay.wiring import retrieval
from crewrelay.wiring.secrets import embedder_settings, retrieval_settings
from tests.support.processes import ROOT

CONFIG = ROOT / "functions/crewrelay/catalogue/shipped/research/config"

Answered = Callable[[str, str], str]  # of a topic and a language


class Search(BaseTool):
    name: str = "search_passages"
    description: str = "Searches the collection for passages."
    retriever: Any

    def _run(self, query: str) -> str:
        found = self.retriever.retrieve(query)
        return fenced(query, [passage.model_copy(update={"number": n}) for n, passage in enumerate(found, 1)])


@cache
def plain_crew(model_url: str) -> Answered:
    """What runs a crew of its own for each topic, as a job of crewrelay does."""
    settings = retrieval_settings()
    retriever = retrieval.retriever(retrieval.collections(settings), settings, retrieval.embedder(embedder_settings()))
    agents, tasks = (yaml.safe_load((CONFIG / f"{name}.yaml").read_text()) for name in ("agents", "tasks"))

    def crew() -> Crew:
        llm = LLM(model="openai/scripted", base_url=f"{model_url}/v1", api_key="test")
        search = Search(retriever=retriever)
        made = {
            name: Agent(**{**agent, "tools": [search] if "tools" in agent else []}, llm=llm)
            for name, agent in agents.items()
        }
        research = Task(**{**tasks["research"], "agent": made["researcher"]})
        write = Task(**{**tasks["write"], "agent": made["writer"], "context": [research]})
        return Crew(agents=list(made.values()), tasks=[research, write])

    return lambda topic, language: str(crew().kickoff(inputs={"topic": topic, "language": language}))
