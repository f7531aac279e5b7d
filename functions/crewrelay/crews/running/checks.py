"""Checks a crew before its first job, without a network."""

import logging
from collections.abc import Iterator
from datetime import timedelta

from pydantic import ValidationError

from crewrelay.catalogue import cross_checks
from crewrelay.catalogue.catalogue import Catalogue
from crewrelay.catalogue.definition import Definition
from crewrelay.catalogue.project import Project
from crewrelay.catalogue.yaml_file import Fault, Faulty, in_order
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.journal.workplace import working_in_a_copy
from crewrelay.crews.projects.kickoff import faults_of_project
from crewrelay.crews.running.building import ModelOf
from crewrelay.crews.running.dry_run import DryRunCalls, dry_run_crew
from crewrelay.crews.running.own_tools import own_tools
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.errors import InvalidCrew, Misconfigured
from crewrelay.jobs.records.answer import Passage

logger = logging.getLogger(__name__)


def refuse_broken(crews: Catalogue, model_of: ModelOf) -> list[str]:
    """Raises InvalidCrew with the faults of all crews. Those of CrewAI's projects are logged and returned instead."""
    faults: list[str] = []
    of_projects: list[str] = []
    for name in crews.names():
        found = of_projects if crews.is_project(name) else faults
        try:
            found += map(str, faults_of(crews.definition(name), model_of))
        except InvalidCrew as error:
            found.append(str(error))
    for fault in of_projects:
        logger.error("a project can't run: %s", fault)
    if faults:
        raise InvalidCrew("\n".join(faults))
    return of_projects


def faults_of(definition: Definition | Project, model_of: ModelOf) -> list[Fault]:
    """Faults across its files, of its tools and models; else those that CrewAI finds in the crew that is built."""
    if isinstance(definition, Project):
        tune_crewai()
        with (
            working_in_a_copy(definition.folder),  # its code may open files by a relative path
            journaling(DryRunCalls(), default_model=lambda: model_of(None)),
        ):
            return faults_of_project(definition)
    try:
        own = own_tools(definition.card.folder)
    except Faulty as faulty:
        return faulty.faults
    faults = [*cross_checks.faults(definition, own.names), *_models(definition, model_of)]
    return in_order(faults) or list(_built(definition))


def _models(definition: Definition, model_of: ModelOf) -> Iterator[Fault]:
    for model in sorted(filter(None, definition.models)):
        try:
            model_of(model)
        except Misconfigured as error:
            file, where = definition.where_named(model)
            yield file.fault(where, str(error))


def _built(definition: Definition) -> Iterator[Fault]:
    try:
        dry_run_crew(definition, definition.card.inputs.sample(), NoPassages(), DryRunCalls())
    except Faulty as faulty:
        yield from faulty.faults
    except InvalidCrew as error:
        yield definition.card.file.fault((), str(error))
    except ValidationError as error:
        for item in error.errors(include_url=False):
            yield definition.tasks_file.fault((), f"CrewAI refuses the crew: {item['msg']}")


class NoPassages:
    """A retriever that finds nothing."""

    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        return []
