"""Runs a project that `crewai create` made, unchanged: its crew or flow is built anew for every job."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from crewai import Crew
from crewai.project.crew_loader import load_crew

from crewrelay.catalogue.project import FILE, Project
from crewrelay.catalogue.project_files import line_of
from crewrelay.catalogue.yaml_file import Fault, Faulty
from crewrelay.crews.journal import durable
from crewrelay.crews.projects.code import TURN, building, chosen
from crewrelay.crews.projects.faults import faults_of_crew, faults_of_flow
from crewrelay.crews.projects.flows import new_flow, result_of
from crewrelay.crews.projects.import_paths import make_importable

logger = logging.getLogger(__name__)

_makers: dict[Path, Callable[[], tuple[Crew, dict[str, Any]]]] = {}


def new_kickoff(project: Project) -> Callable[[Mapping[str, Any]], str]:
    """What runs its crew or flow for one job, from inputs to the result as text. Raises Faulty."""
    if missing := list(_missing_variables(project)):
        raise Faulty(*missing)
    with TURN:
        if project.is_flow:
            flow = new_flow(project)
            if faults := list(faults_of_flow(project, flow)):
                raise Faulty(*faults)
            return lambda inputs: result_of(flow, inputs)
        crew, defaults = _new_crew(project)
    return lambda inputs: str(crew.kickoff(inputs=defaults | dict(inputs)).raw)  # type: ignore[union-attr]


def faults_of_project(project: Project) -> list[Fault]:
    """All that keeps it from running here."""
    try:
        new_kickoff(project)
    except Faulty as faulty:
        return faulty.faults
    return []


def _missing_variables(project: Project) -> Iterator[Fault]:
    """An empty one counts as unset, as with settings."""
    path = project.folder / FILE
    for name in project.env:
        if not os.environ.get(name):
            what = (
                f"{name} is not set; set it in the environment or its .env, on AWS in the secret CREWRELAY_CREWS_SECRET"
            )
            yield Fault(path, line_of(path, rf"""["']{name}["']"""), what)


def _new_crew(project: Project) -> tuple[Crew, dict[str, Any]]:
    """A crew, which prints nothing, and the defaults of its inputs."""
    home = project.folder.resolve()
    if home not in _makers:
        _makers[home] = _json_crew(project) if project.definition else _classic_crew(project)
    crew, defaults = building(project, _makers[home])
    if faults := list(faults_of_crew(project, crew)):
        raise Faulty(*faults)
    if crew._memory is not None or any(agent.memory for agent in durable.agents_of(crew)):
        _tell_of_memory(project.card.name)
    crew.verbose = crew._logger.verbose = False  # it would print prompts, past the log
    for agent in durable.agents_of(crew):
        agent.verbose = False
    return crew, defaults


@cache
def _tell_of_memory(name: str) -> None:
    logger.info("the memory of %s lasts for a run: no job knows what another one remembered", name)


def _json_crew(project: Project) -> Callable[[], tuple[Crew, dict[str, Any]]]:
    definition = project.definition
    assert definition is not None
    make_importable(project)
    return lambda: load_crew(definition)


def _classic_crew(project: Project) -> Callable[[], tuple[Crew, dict[str, Any]]]:
    crew_class = _class_of(project)
    return lambda: (crew_class().crew(), {})


def _class_of(project: Project) -> Any:
    """The class that pyproject.toml names, else the only @CrewBase class of the only crew.py."""
    target = project.target
    if not target:
        found = sorted((project.folder / "src").glob("*/crew.py"))
        if len(found) != 1:
            what = f'it has {len(found)} files src/*/crew.py; name one, [tool.crewrelay] crew = "package.module:Class"'
            raise Faulty(Fault(project.folder / FILE, 1, what))
        target = f"{found[0].parent.name}.crew"
    return chosen(project, target, lambda value: getattr(value, "is_crew_class", False), "with @CrewBase", "crew")
