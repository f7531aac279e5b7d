"""Runs a crew with the extractive model: no key, no network, no journal."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from crewai import Crew

from crewrelay.catalogue.definition import Definition
from crewrelay.catalogue.inputs import Value
from crewrelay.crews.journal import durable
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.passages.citations import Bibliography
from crewrelay.crews.passages.search import SearchPassages
from crewrelay.crews.running.building import build
from crewrelay.crews.running.tuning import complete_models, tune_crewai
from crewrelay.jobs.ports import Retriever
from crewrelay.jobs.records.answer import Usage
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.records.questions import Feedback, Question


class Outcome(NamedTuple):
    """A task's output."""

    task: str
    agent: str
    text: str


class DryRunCalls:
    """The Calls port without a journal: every call is made. `error` is the first that stopped the run."""

    job_id = str(UUID(int=0))
    is_last_attempt = True
    remaining = timedelta(minutes=15)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def journaled(self, kind: Kind) -> list[Reply]:
        return []

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        return pay()

    def ask(self, question: Question) -> Feedback:
        return question.accepted()

    def begin_task(self, name: str, agent: str, number: int, of: int) -> None: ...

    def end_task(self) -> None: ...

    def stop(self, error: BaseException) -> None:
        self.error = self.error or error

    def usage(self) -> Usage:
        return Usage(model=ExtractiveLLM.NAME)


def dry_run_crew(definition: Definition, given: Mapping[str, Value], retriever: Retriever, calls: DryRunCalls) -> Crew:
    """The crew, built with the extractive model only. Raises Faulty, InvalidCrew, ValidationError."""
    crew = build(
        definition,
        given,
        lambda name: JournaledLLM(ExtractiveLLM(model=ExtractiveLLM.NAME), calls),
        SearchPassages(retriever, Bibliography()),
    )
    return durable.make_durable(crew, calls)


def dry_run(definition: Definition, given: Mapping[str, Value], retriever: Retriever) -> list[Outcome]:
    """The outputs of all tasks. The extractive model calls the search only, no tool of the crew's own. Raises whatever
    the run raises.
    """
    tune_crewai()
    complete_models()
    calls = DryRunCalls()
    crew = dry_run_crew(definition, given, retriever, calls)
    with journaling(calls):  # a question to a human is answered, not asked in the terminal
        crew.kickoff()
    if calls.error is not None:
        raise calls.error
    return [
        Outcome(str(task.name), task.output.agent.strip(), task.output.raw)
        for task in crew.tasks
        if task.output is not None
    ]
