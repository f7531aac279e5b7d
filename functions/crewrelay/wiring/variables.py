"""Gives projects of CrewAI's own the environment variables that they read, and redacts these."""

import os
from collections.abc import Iterable

from crewrelay.catalogue.project import Project
from crewrelay.redaction import SHORTEST
from crewrelay.settings import CrewsSettings
from crewrelay.wiring.logs import redaction


def provide(projects: Iterable[Project]) -> None:
    """Put what they name and the secret has into the environment, before they are loaded. All projects of a process
    see it. Raises Misconfigured, Unavailable.
    """
    projects = list(projects)
    named = {name for project in projects for name in project.env}
    os.environ.update(_from_secret(named))
    keys = {name for name, value in os.environ.items() if name.endswith("_API_KEY") and len(value) >= SHORTEST}
    for name in named | (keys if projects else set()):
        redaction().hide(os.environ.get(name, ""))


def _from_secret(names: set[str]) -> dict[str, str]:
    arn = CrewsSettings.read().crews_secret
    if not (arn and names):
        return {}
    from crewrelay.aws.secrets import variables

    return {name: value for name, value in variables(arn).items() if name in names}
