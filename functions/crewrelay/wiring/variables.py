"""Gives projects of CrewAI's own the environment variables that they read, and redacts these."""

import logging
import os
from collections.abc import Iterable, Mapping

from crewrelay.catalogue.project import Project
from crewrelay.catalogue.project_variables import is_reserved
from crewrelay.jobs.errors import Misconfigured
from crewrelay.redaction import SHORTEST
from crewrelay.settings import CrewsSettings
from crewrelay.wiring.logs import redaction

logger = logging.getLogger(__name__)

_MODEL = "MODEL"  # of CrewAI's agents, in the .env that `crewai create` writes


def provide(projects: Iterable[Project]) -> None:
    """Put what they name, and their .env or the secret has, into the environment, before they are loaded. All projects
    of a process see it. Raises Misconfigured, Unavailable.
    """
    projects = list(projects)
    named = {name for project in projects for name in project.env}
    for project in projects:
        _add(project, _of_file(project))
    os.environ.update(_from_secret(named))
    keys = {name for name in os.environ if _is_key(name)}
    for name in named | (keys if projects else set()):
        _hide(name, os.environ.get(name, ""))


def _of_file(project: Project) -> dict[str, str]:
    """Of its .env: what it names, its keys and its model, as `crewai run` reads them. An image has no such file."""
    from dotenv import dotenv_values

    path = project.folder / ".env"
    try:
        given = dotenv_values(path)
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not UTF-8: save it as UTF-8.") from None
    except OSError as error:
        raise Misconfigured(f"{path} can't be read: {error.strerror}.") from None
    if any("=" in name or "\0" in f"{name}{value}" for name, value in given.items()):
        raise Misconfigured(f"{path} has a name with = or a zero byte, which no variable can have: remove it.")
    wanted = {name for name in given if name in (*project.env, _MODEL) or (_is_key(name) and not is_reserved(name))}
    return {name: value for name, value in given.items() if value and name in wanted}


def _add(project: Project, values: Mapping[str, str]) -> None:
    """What the environment has comes first, and an empty variable counts as unset."""
    for name, value in values.items():
        if name != _MODEL:
            _hide(name, value)  # also if it is not used: the project's code may read the file itself
        if os.environ.get(name) not in (None, "", value):
            logger.warning("%s is not taken from %s/.env: the environment has another", name, project.folder)
        else:
            os.environ[name] = value


def _is_key(name: str) -> bool:
    return name.endswith("_API_KEY")


def _hide(name: str, value: str) -> None:
    """A named variable that is too short to be hidden is told; a key that nobody has named may be anything."""
    if not _is_key(name) or len(value) >= SHORTEST:
        redaction().hide(value)


def _from_secret(names: set[str]) -> dict[str, str]:
    arn = CrewsSettings.read().crews_secret
    if not (arn and names):
        return {}
    from crewrelay.aws.secrets import variables

    return {name: value for name, value in variables(arn).items() if name in names}
