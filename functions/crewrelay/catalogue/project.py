"""A project that `crewai create` made, read as data: its name, form and inputs.

Light: neither CrewAI nor the project's code is imported. crews/projects/kickoff.py loads it where it runs.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from crewrelay.catalogue.definition import Card, CrewPart
from crewrelay.catalogue.flow_project import FlowFound, find_flow
from crewrelay.catalogue.inputs import PLACEHOLDER, Input, Inputs
from crewrelay.catalogue.json_schema import inputs_of
from crewrelay.catalogue.outline import outline_of
from crewrelay.catalogue.project_files import line_of, read_jsonc, read_toml, read_yaml, sources
from crewrelay.catalogue.project_variables import faults_of_names
from crewrelay.catalogue.yaml_file import Fault, Faulty, YamlFile

FILE = "pyproject.toml"
_JSON_CREWS = ("crew.jsonc", "crew.json")
_MARK = re.compile(r"^[ \t]*\[tool\.crewai\b", re.MULTILINE)
_KICKOFF = re.compile(r"^[ \t]*kickoff\s*=", re.MULTILINE)
_NEEDS_CREWAI = re.compile(r"""["']crewai\b(?!-)""")
_TYPES = {bool: "boolean", int: "integer", str: "string"}
_OF_A_STATE = _TYPES | {str: "text", float: "number", list: "array", dict: "object"}


class Project(NamedTuple):
    """`definition` is its crew.jsonc or flow.yaml, if it has one. `target` is its class, as module:Class. `env` are the
    environment variables that it reads.
    """

    card: Card
    definition: Path | None
    target: str | None
    digest: str
    env: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.card.folder

    @property
    def is_flow(self) -> bool:
        return self.card.kind == "flow"


class _Refined(BaseModel):
    """[tool.crewrelay]."""

    model_config = ConfigDict(extra="forbid", strict=True)

    description: str | None = None
    crew: str | None = None
    flow: str | None = None
    env: list[str] = []
    inputs: dict[str, dict[str, Any]] = {}


def is_project(folder: Path) -> bool:
    """By the mark in its pyproject.toml. One without needs CrewAI, and has a crew or a kickoff."""
    path = folder / FILE
    if not path.is_file():
        return False
    text = path.read_text(errors="replace")
    return bool(_MARK.search(text) or (_NEEDS_CREWAI.search(text) and (_KICKOFF.search(text) or _has_crew(folder))))


def _has_crew(folder: Path) -> bool:
    return _json_crew(folder) is not None or any(folder.glob("src/*/crew.py"))


def _json_crew(folder: Path) -> Path | None:
    return next((folder / one for one in _JSON_CREWS if (folder / one).is_file()), None)


def name_of(folder: Path) -> str:
    """By its pyproject.toml, if that can be read; else that of the folder."""
    try:
        given = str(read_toml(folder / FILE).get("project", {}).get("name") or folder.name)
    except Faulty:
        given = folder.name
    return re.sub(r"[^a-z0-9_-]+", "_", given.lower())


def read_project_card(name: str, folder: Path) -> Card:
    """Raises Faulty."""
    return read_project(name, folder).card


def read_project(name: str, folder: Path) -> Project:
    """Raises Faulty."""
    folder = folder.absolute()  # a run changes its working directory
    path = folder / FILE
    data = read_toml(path)
    tools = data.get("tool", {})
    refined = _refined(path, tools.get("crewrelay", {}))
    description = refined.description or data.get("project", {}).get("description") or name
    unmarked = "flow" if "kickoff" in data.get("project", {}).get("scripts", {}) and not _has_crew(folder) else "crew"
    is_flow = tools.get("crewai", {"type": unmarked}).get("type") == "flow"
    flow = find_flow(path, data, refined.flow) if is_flow else None
    definition = flow.definition if flow else _json_crew(folder)
    found = _of_the_state(path, flow) if flow else _of_the_texts(folder, definition)
    crew = CrewPart(description=description, inputs=_inputs(path, found, refined.inputs))
    inputs = Inputs(crew.inputs, open_=flow is not None and flow.state is None)
    file = YamlFile(path, data, {(): 1})
    card = Card(name, folder, file, crew, inputs, "flow" if flow else "crew", outline_of(folder))
    return Project(card, definition, flow.target if flow else refined.crew, _digest(folder), tuple(refined.env))


def _of_the_state(path: Path, flow: FlowFound) -> dict[str, dict[str, Any]]:
    """The inputs of a flow: what its state has."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in flow.defaults.items():
        known = {"type": _OF_A_STATE.get(type(value), "any")}
        found[name] = known | ({"optional": True} if value is None else {"default": value})
    try:
        declared = inputs_of(flow.state or {})
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise Faulty(Fault(flow.definition or path, 1, f"the schema of its state: {what}; correct it")) from None
    for name, one in declared.items():
        default = {"default": flow.defaults[name]} if flow.defaults.get(name) is not None else {}
        found[name] = one.model_dump(exclude_unset=True) | default
    return {name: one for name, one in found.items() if name != "id"}


def _of_the_texts(folder: Path, definition: Path | None) -> dict[str, dict[str, Any]]:
    """The inputs of a crew: the placeholders of its texts, and what it declares."""
    found = _declared(definition) if definition else _placeholders_of(_configs(folder))
    return {
        name: {} if default is None else {"type": _TYPES[type(default)], "default": default}
        for name, default in found.items()
    }


def _refined(path: Path, given: Any) -> _Refined:
    try:
        refined = _Refined.model_validate(given)
    except ValidationError as error:
        faults = [
            Fault(
                path,
                line_of(path, r"(?m)^[ \t]*\[tool\.crewrelay"),
                f"{_place(item['loc'])}: {item['msg']}; correct it",
            )
            for item in error.errors(include_url=False)
        ]
        raise Faulty(*faults) from None
    if faults := list(faults_of_names(path, refined.env)):
        raise Faulty(*faults)
    return refined


def _inputs(path: Path, found: Mapping[str, dict[str, Any]], refined: Mapping[str, dict[str, Any]]) -> dict[str, Input]:
    """By name; what is refined replaces what was found."""
    inputs: dict[str, Input] = {}
    for name in (*found, *(name for name in refined if name not in found)):
        try:
            inputs[name] = Input.model_validate({**found.get(name, {}), **refined.get(name, {})})
        except ValidationError as error:
            what = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            line = line_of(
                path, rf"(?m)^[ \t]*\[tool\.crewrelay\.inputs\.{re.escape(name)}\b|^[ \t]*{re.escape(name)}\s*="
            )
            raise Faulty(Fault(path, line, f"{_place(('inputs', name))}: {what}; correct it")) from None
    return inputs


def _place(location: tuple[Any, ...]) -> str:
    return ".".join(("tool.crewrelay", *map(str, location)))


def _declared(definition: Path) -> dict[str, Any]:
    """The inputs of crew.jsonc with their defaults, and the placeholders without."""
    crew = read_jsonc(definition)
    if not isinstance(crew, dict):
        raise Faulty(Fault(definition, 1, "the crew must be an object; write {…}"))
    agents = [read_jsonc(path) for path in sorted((definition.parent / "agents").glob("*.json*"))]
    defaults = crew.pop("inputs", None) or {}
    found = _placeholders_of([crew, *agents]) | defaults
    # A default of another type than ours, such as a list, is CrewAI's own affair.
    return {name: value for name, value in found.items() if value is None or type(value) in _TYPES}


def _configs(folder: Path) -> list[Any]:
    return [read_yaml(path) for path in sorted((folder / "src").glob("*/config/*.y*ml"))]


def _placeholders_of(data: Any) -> dict[str, None]:
    return dict.fromkeys(name for text in _texts(data) for name in PLACEHOLDER.findall(text))


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for one in data.values() if isinstance(data, dict) else data:
            yield from _texts(one)


def _digest(folder: Path) -> str:
    known = hashlib.sha256()
    for path in sources(folder):
        content = path.read_bytes()
        known.update(f"\n{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return known.hexdigest()
