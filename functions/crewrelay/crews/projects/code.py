"""Imports a project's own code, once per process; what it raises becomes a fault at the last of its lines."""

import importlib
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from crewrelay.catalogue.project import FILE, Project
from crewrelay.catalogue.yaml_file import Fault, Faulty
from crewrelay.crews.projects.import_paths import make_importable

T = TypeVar("T")

TURN = threading.RLock()  # CrewAI changes sys.path while it loads a JSON crew


def imported(project: Project, name: str) -> ModuleType:
    """Raises Faulty."""
    make_importable(project)
    module: ModuleType = building(project, lambda: importlib.import_module(name))
    if not Path(str(module.__file__)).is_relative_to(project.folder.resolve()):
        what = f"the package {name.partition('.')[0]} is also in {module.__file__}; rename one of them"
        raise Faulty(Fault(project.folder / FILE, 1, what))
    return module


def building(project: Project, make: Callable[[], T]) -> T:
    """Raises Faulty with whatever the project's code raises."""
    try:
        return make()
    except Faulty:
        raise
    except (Exception, SystemExit) as error:
        reasons = list(_reasons(error))
        steps = [frame for one in reasons for frame in traceback.extract_tb(one.__traceback__)]
        frames = [frame for frame in steps if _is_own(project, frame.filename)]
        place = (Path(frames[-1].filename), frames[-1].lineno or 1) if frames else (project.folder / FILE, 1)
        if isinstance(error, SyntaxError) and error.filename:
            place = (Path(error.filename), error.lineno or 1)
        elif project.definition and not frames:
            place = (project.definition, 1)
        told = ", from ".join(dict.fromkeys(f"{type(one).__name__}: {one}" for one in (error, reasons[-1])))
        what = f"{told}; correct it, or install what it needs"
        raise Faulty(Fault(*place, what)) from error


def _reasons(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it was raised from: CrewAI names a module that it can't import, but not the reason."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_own(project: Project, file: str) -> bool:
    return Path(file).resolve().is_relative_to(project.folder.resolve()) and "site-packages" not in file


def chosen(project: Project, target: str, is_one: Callable[[Any], bool], what: str, option: str) -> Any:
    """The class module:Class, or the only one of the module for which `is_one` holds. Raises Faulty."""
    module_name, _, class_name = target.partition(":")
    module = imported(project, module_name)
    found = {
        name: value for name, value in vars(module).items() if is_one(value) and (name == class_name or not class_name)
    }
    if len(found) != 1:
        told = f"{module_name} has {len(found)} classes {class_name or what}"
        raise Faulty(
            Fault(project.folder / FILE, 1, f'{told}; name one, [tool.crewrelay] {option} = "{module_name}:Class"')
        )
    return next(iter(found.values()))
