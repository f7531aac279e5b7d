"""What keeps a project from running here, with file, line and remedy."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from crewai import Agent, Crew
from crewai.flow.flow import Flow

from crewrelay.catalogue.options import REFUSED
from crewrelay.catalogue.project import FILE, Project
from crewrelay.catalogue.project_files import line_of, own_code, read_jsonc, read_yaml, sources
from crewrelay.catalogue.yaml_file import Fault, Faulty
from crewrelay.crews.journal import durable

# With these a resumed run would ask something else than the first, or past the journal.
REFUSED_OF_PROJECTS = (
    "memory",  # that outlasts the run
    "knowledge",  # that was made outside of a run
    "mcps",  # of CrewAI's platform
    "apps",
    "a2a",
    "multimodal",
    "allow_code_execution",
    "stream",
)
_SEEN_IN_FILES = tuple(
    option for option in REFUSED_OF_PROJECTS if option not in ("memory", "knowledge", "mcps")
)  # of which all are refused
_BY_A_TOOL = ("apps", "a2a")  # its results are journaled
_MEMBERS = ("Crew", "Agent", "Task")


def faults_of_crew(project: Project, crew: Crew) -> Iterator[Fault]:
    for option, who, effect in durable.refused_options(crew, REFUSED_OF_PROJECTS):
        yield _fault(project, option, f"{option} of {who} {effect}; {remedy_of(option)}")
    for agent in durable.agents_of(crew):
        if not isinstance(agent, Agent):
            what = f"{agent.role} is a {type(agent).__name__}, which asks its model past the journal; use crewai.Agent"
            yield Fault(project.folder / FILE, 1, what)


def faults_of_flow(project: Project, flow: Flow[Any]) -> Iterator[Fault]:
    """Its crews are built while it runs: their options are looked for in its files, and once more when they start."""
    definition = flow._definition
    place = project.definition or project.folder / FILE
    if definition.conversational is not None and definition.conversational.enabled:
        yield Fault(place, line_of(place, "conversational"), "a conversation can't run here; use a flow of steps")
    for option, who, effect in durable.refused_of(flow, "the flow", ("memory",)):
        yield _fault(project, option, f"{option} of {who} {effect}; {remedy_of(option)}")
    yield from _missing_inputs(project, flow)
    yield from _in_files(project.folder, project.digest)


@cache
def _in_files(folder: Path, digest: str) -> tuple[Fault, ...]:
    """Faults that are seen in a flow's files, which are of this digest."""
    faults: list[Fault] = []
    for path, tree in own_code(folder):
        faults += _calls_of(path, tree)
    for path in sources(folder):
        if path.suffix in (".yaml", ".yml", ".json", ".jsonc"):
            faults += _options_in(path)
    return tuple(faults)


def _missing_inputs(project: Project, flow: Flow[Any]) -> Iterator[Fault]:
    """Fields of the state that were not found in its code."""
    fields = getattr(type(flow.state), "model_fields", {})
    for name in () if project.card.inputs.open else fields:
        if name != "id" and name not in project.card.inputs.declared:
            what = f"{name} of its state is not found in its code; declare it, [tool.crewrelay.inputs.{name}]"
            yield Fault(project.folder / FILE, 1, what)


def _calls_of(path: Path, tree: ast.Module) -> Iterator[Fault]:
    """Calls that build a crew, an agent or a task with a refused option."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        for keyword in node.keywords if name in _MEMBERS else ():
            if keyword.arg in _SEEN_IN_FILES and not _is_off(keyword.value):
                effect = f"{keyword.arg} of the {name} {REFUSED[keyword.arg]}; {remedy_of(keyword.arg)}"
                yield Fault(path, keyword.value.lineno, effect)


def _is_off(value: ast.expr) -> bool:
    empty = isinstance(value, ast.List | ast.Tuple) and not value.elts
    return empty or (isinstance(value, ast.Constant) and not value.value)


def _options_in(path: Path) -> Iterator[Fault]:
    try:
        data = read_yaml(path) if path.suffix in (".yaml", ".yml") else read_jsonc(path)
    except Faulty:
        return  # what reads it tells so
    for name in sorted(set(_switched_on(data))):
        yield Fault(path, _line(path, name), f"{name} {REFUSED[name]}; {remedy_of(name)}")


def _switched_on(data: Any) -> Iterator[str]:
    """The refused options of everything that is an agent, a task or a crew."""
    if isinstance(data, Mapping) and {"role", "expected_output", "agents"} & set(data):
        yield from (name for name in _SEEN_IN_FILES if data.get(name))
    for one in data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ():
        yield from _switched_on(one)


def remedy_of(option: str) -> str:
    if option == "knowledge":
        return "give its sources as knowledge_sources, without a storage of their own"
    if option == "memory":
        return "give it no storage of its own, and it lasts for the run"
    if option == "mcps":
        return "name it by its https:// address, or as an MCPServerHTTP with headers"
    if option in _BY_A_TOOL:
        return "remove it, and ask for it in a tool of your own"
    return "remove it, or switch it off"


def _fault(project: Project, option: str, what: str) -> Fault:
    pattern = _pattern(option)
    files = [path for path in sources(project.folder) if path.suffix in (".py", ".yaml", ".yml", ".json", ".jsonc")]
    place = next((path for path in files if re.search(pattern, path.read_text(errors="replace"))), None)
    return Fault(place, _line(place, option), what) if place else Fault(project.folder / FILE, 1, what)


def _line(path: Path, option: str) -> int:
    return line_of(path, _pattern(option))


def _pattern(option: str) -> str:
    """A line that sets the option, or decorates with it."""
    return rf"(?m)^(?!\s*(?://|#)).*\b{option}\"?\s*[=:(]"
