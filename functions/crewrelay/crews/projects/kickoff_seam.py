"""Checks every crew and agent that starts in a run, whoever built it: see ambient.py."""

from typing import Any

from crewai import Agent, Crew
from crewai.crews.utils import prepare_kickoff as _prepare

from crewrelay.crews.journal import durable
from crewrelay.crews.journal.ambient import in_a_run
from crewrelay.crews.projects.faults import REFUSED_OF_PROJECTS, remedy_of
from crewrelay.jobs.errors import InvalidCrew

_prepare_agent: Any = Agent._prepare_kickoff


def prepare_kickoff(crew: Crew, *args: Any, **kwargs: Any) -> Any:
    if in_a_run():
        _refuse(durable.refused_options(crew, REFUSED_OF_PROJECTS))
    return _prepare(crew, *args, **kwargs)


def prepare_agent_kickoff(agent: Agent, *args: Any, **kwargs: Any) -> Any:
    if in_a_run():
        _refuse(durable.refused_of(agent, str(agent.role).strip(), REFUSED_OF_PROJECTS))
    return _prepare_agent(agent, *args, **kwargs)


def _refuse(options: Any) -> None:
    if told := [f"{option} of {who} {effect}; {remedy_of(option)}" for option, who, effect in options]:
        raise InvalidCrew("; ".join(told))
