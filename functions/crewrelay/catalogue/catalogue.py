"""The crews of a deployment, a folder each: the shipped one and those in CREWRELAY_CREWS.

Light: the functions that only accept jobs read names and inputs from here, without CrewAI.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from crewrelay.catalogue.definition import Card, Definition, read_card, read_definition
from crewrelay.catalogue.project import Project, is_project, name_of, read_project, read_project_card
from crewrelay.catalogue.yaml_file import Faulty
from crewrelay.jobs.errors import InvalidCrew, Misconfigured
from crewrelay.settings import CrewsSettings

_SHIPPED = Path(__file__).parent / "shipped"
SCAFFOLD = Path(__file__).parent / "scaffold"  # the files of a new crew
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
NAME_RULE = "a crew's name has small letters, digits, - and _, begins with a letter, and is no longer than 63"


class Catalogue:
    """Reads each file once per process."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Raises Misconfigured for an invalid name, or for one that two crews have."""
        self._folders: dict[str, Path] = {}
        self._read: dict[tuple[Any, str], Any] = {}
        self._reading = Lock()
        for folder in (crew for given in (_SHIPPED, *folders) for crew in crews_in(given)):
            name = name_of(folder) if is_project(folder) else folder.name
            if not NAME.fullmatch(name):
                raise Misconfigured(f"{folder}: {NAME_RULE}; rename the folder")
            if name in self._folders:
                raise Misconfigured(f"{folder} and {self._folders[name]} are both named {name}: rename one of them")
            self._folders[name] = folder

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._folders))

    def folder(self, name: str) -> Path | None:
        return self._folders.get(name)

    def is_project(self, name: str) -> bool:
        """Whether it is a project of CrewAI's own."""
        return name in self._folders and is_project(self._folders[name])

    def card(self, name: str) -> Card:
        """Its name, description and inputs. Raises InvalidCrew."""
        card: Card = self._once(read_card, read_project_card, name)
        return card

    def definition(self, name: str) -> Definition | Project:
        """All of its files, without the checks that need CrewAI: see crews/running/checks.py. Raises InvalidCrew."""
        definition: Definition | Project = self._once(read_definition, read_project, name)
        return definition

    def _once(self, read_crew: Any, read_project: Any, name: str) -> Any:
        if name not in self._folders:
            raise InvalidCrew(f"This deployment has no crew {name}; it has {', '.join(self.names())}.")
        read = read_project if is_project(self._folders[name]) else read_crew
        # By one thread at a time: before 3.11.8 two that parse at once fail (github.com/python/cpython/issues/106905).
        with self._reading:
            if (read, name) not in self._read:
                try:
                    self._read[read, name] = read(name, self._folders[name])
                except Faulty as faulty:
                    raise InvalidCrew(str(faulty)) from None
            return self._read[read, name]


def crews_in(folder: Path) -> list[Path]:
    """The folder itself if it is a crew or a project of CrewAI, else its subfolders that are."""
    if is_crew(folder) or is_project(folder):
        return [folder]
    return sorted(inner for inner in folder.iterdir() if is_crew(inner) or is_project(inner))


def is_crew(folder: Path) -> bool:
    return any((folder / "config" / f"{name}.yaml").is_file() for name in ("agents", "tasks", "crew"))


@cache
def catalogue() -> Catalogue:
    """This process's catalogue, by its settings. Raises Misconfigured."""
    return Catalogue(CrewsSettings.read().folders)
