"""A crew run to its end with the model that needs no key, no network and no journal."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from crewai import Crew

from crewrelay.catalogue.definition import Definition
from crewrelay.catalogue.inputs import Value
from crewrelay.crews import durable
from crewrelay.crews.building import build
from crewrelay.crews.citations import Bibliography
from crewrelay.crews.extractive import ExtractiveLLM
from crewrelay.crews.journaled import JournaledLLM
from crewrelay.crews.search import SearchPassages
from crewrelay.crews.tuning import complete_models, tune_crewai
from crewrelay.jobs.answer import Usage
from crewrelay.jobs.journal import Kind, Reply
from crewrelay.jobs.ports import Retriever


class Outcome(NamedTuple):
    """What a task gave."""

    task: str
    agent: str
    text: str


class Rehearsal:
    """The Calls port of a run that nobody resumes and that costs nothing."""

    is_last_attempt = True
    remaining = timedelta(minutes=15)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def journaled(self, kind: Kind) -> list[Reply]:
        return []

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        return pay()

    def stop(self, error: BaseException) -> None:
        self.error = self.error or error

    def usage(self) -> Usage:
        return Usage(model=ExtractiveLLM.NAME)


def rehearsed(definition: Definition, given: Mapping[str, Value], retriever: Retriever, calls: Rehearsal) -> Crew:
    """The crew, all its models the extractive one. Raises Faulty, InvalidCrew, ValidationError."""
    crew = build(
        definition,
        given,
        lambda name: JournaledLLM(ExtractiveLLM(model=ExtractiveLLM.NAME), calls),
        SearchPassages(retriever, Bibliography()),
    )
    return durable.make_durable(crew, calls)


def dry_run(definition: Definition, given: Mapping[str, Value], retriever: Retriever) -> list[Outcome]:
    """Tools of the crew's own are not asked. Raises whatever the run does."""
    tune_crewai()
    complete_models()
    calls = Rehearsal()
    crew = rehearsed(definition, given, retriever, calls)
    crew.kickoff()
    if calls.error is not None:
        raise calls.error
    return [
        Outcome(str(task.name), task.output.agent.strip(), task.output.raw)
        for task in crew.tasks
        if task.output is not None
    ]
