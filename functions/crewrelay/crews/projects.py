"""Loads a project that `crewai create` made, unchanged: its code is imported once, its crew built for every job."""

import ast
import importlib
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from crewai import Agent, Crew
from crewai.project.crew_loader import load_crew

from crewrelay.catalogue.project import FILE, Project
from crewrelay.catalogue.project_files import line_of, sources
from crewrelay.catalogue.yaml_file import Fault, Faulty
from crewrelay.crews import durable

_turn = threading.RLock()  # CrewAI changes sys.path while it loads a JSON crew
_makers: dict[Path, Callable[[], tuple[Crew, dict[str, Any]]]] = {}
# With these a resumed run would ask something else than the first, or past the journal.
_REFUSED = (
    "memory",
    "knowledge",
    "knowledge_sources",
    "mcps",
    "apps",
    "a2a",
    "multimodal",
    "allow_code_execution",
    "stream",
)
_NEVER_RUN = "main.py"  # of a classic project: it is how CrewAI's own commands start the crew


def new_crew(project: Project) -> tuple[Crew, dict[str, Any]]:
    """A crew for one job, and the defaults of its inputs. It prints nothing and writes no files. Raises Faulty."""
    with _turn:
        home = project.folder.resolve()
        if home not in _makers:
            _makers[home] = _json_crew(project) if project.definition else _classic_crew(project)
        crew, defaults = _building(project, _makers[home])
    if faults := list(_faults_of(project, crew)):
        raise Faulty(*faults)
    crew.verbose = crew._logger.verbose = False  # it would print prompts, past the log
    for agent in durable.agents_of(crew):
        agent.verbose = False
    for task in crew.tasks:
        task.output_file = None  # the disk may be read-only, and other jobs would write the same file
    return crew, defaults


def faults_of_project(project: Project) -> list[Fault]:
    """All that keeps it from running here."""
    try:
        new_crew(project)
    except Faulty as faulty:
        return faulty.faults
    return []


def _json_crew(project: Project) -> Callable[[], tuple[Crew, dict[str, Any]]]:
    definition = project.definition
    assert definition is not None
    return lambda: load_crew(definition)


def _classic_crew(project: Project) -> Callable[[], tuple[Crew, dict[str, Any]]]:
    crew_class = _class_of(project)
    return lambda: (crew_class().crew(), {})


def _class_of(project: Project) -> Any:
    """The class that pyproject.toml names, else the only @CrewBase class of the only crew.py."""
    path = project.folder / FILE
    if project.target:
        module_name, _, class_name = project.target.partition(":")
    else:
        found = sorted((project.folder / "src").glob("*/crew.py"))
        if len(found) != 1:
            what = f'it has {len(found)} files src/*/crew.py; name one, [tool.crewrelay] crew = "package.module:Class"'
            raise Faulty(Fault(path, 1, what))
        module_name, class_name = f"{found[0].parent.name}.crew", ""
    module = _imported(project, module_name)
    crews = {
        name: value
        for name, value in vars(module).items()
        if getattr(value, "is_crew_class", False) and (name == class_name or not class_name)
    }
    if len(crews) != 1:
        what = f"{module_name} has {len(crews)} classes {class_name or 'with @CrewBase'}"
        raise Faulty(Fault(path, 1, f'{what}; name one, [tool.crewrelay] crew = "{module_name}:Class"'))
    return next(iter(crews.values()))


def _imported(project: Project, name: str) -> ModuleType:
    src = str(project.folder.resolve() / "src")
    if src not in sys.path:
        sys.path.append(src)
    module: ModuleType = _building(project, lambda: importlib.import_module(name))
    if not str(module.__file__).startswith(src):
        what = f"the package {name.partition('.')[0]} is also in {module.__file__}; rename one of them"
        raise Faulty(Fault(project.folder / FILE, 1, what))
    return module


def _building(project: Project, make: Callable[[], Any]) -> Any:
    """Whatever the project's code raises becomes a fault at the last of its lines."""
    try:
        return make()
    except Faulty:
        raise
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(project, frame.filename)]
        place = (Path(frames[-1].filename), frames[-1].lineno or 1) if frames else (project.folder / FILE, 1)
        if isinstance(error, SyntaxError) and error.filename:
            place = (Path(error.filename), error.lineno or 1)
        elif project.definition and not frames:
            place = (project.definition, 1)
        what = f"{type(error).__name__}: {error}; correct it, or install what it needs"
        raise Faulty(Fault(*place, what)) from error


def _is_own(project: Project, file: str) -> bool:
    return Path(file).resolve().is_relative_to(project.folder.resolve()) and "site-packages" not in file


def _faults_of(project: Project, crew: Crew) -> Iterator[Fault]:
    for option, who, effect in durable.refused_options(crew, _REFUSED):
        remedy = f"remove it, or switch it off: {option} = false"
        yield _fault(project, option, f"{option} of {who} {effect}; {remedy}")
    for agent in durable.agents_of(crew):
        if not isinstance(agent, Agent):
            what = f"{agent.role} is a {type(agent).__name__}, which asks its model past the journal; use crewai.Agent"
            yield Fault(project.folder / FILE, 1, what)
    for path in sources(project.folder):
        if path.suffix == ".py" and path.name != _NEVER_RUN and "tests" not in path.relative_to(project.folder).parts:
            yield from _inputs_of(path)


def _fault(project: Project, option: str, what: str) -> Fault:
    pattern = rf"(?m)^(?!\s*(?://|#)).*\b{option}\"?\s*[=:]"
    files = [path for path in sources(project.folder) if path.suffix in (".py", ".yaml", ".yml", ".json", ".jsonc")]
    place = next((path for path in files if re.search(pattern, path.read_text(errors="replace"))), None)
    return Fault(place, line_of(place, pattern), what) if place else Fault(project.folder / FILE, 1, what)


def _inputs_of(path: Path) -> Iterator[Fault]:
    """Calls of input()."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return  # of a file that nothing imports; else it would have failed before
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "input":
            yield Fault(path, node.lineno, "input() waits for somebody, and nobody is there to answer; remove it")
