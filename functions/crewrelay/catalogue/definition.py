"""A crew as its files define it: config/agents.yaml and tasks.yaml in CrewAI's own form, and crew.yaml with its inputs.

Light: the functions that only accept jobs read crew.yaml, without CrewAI.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveInt, StringConstraints, ValidationError

from crewrelay.catalogue import yaml_file
from crewrelay.catalogue.inputs import Input, Inputs
from crewrelay.catalogue.options import REFUSED, remedy
from crewrelay.catalogue.outline import Outline, outline_of
from crewrelay.catalogue.yaml_file import Fault, Faulty, Where, YamlFile

Prose = Annotated[str, StringConstraints(min_length=1)]
M = TypeVar("M", bound=BaseModel)
SEARCH = "search_passages"  # the tool that every crew can use


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CrewPart(_Part):
    """crew.yaml. `model` is the default of its agents; its own default is CREWRELAY_MODEL."""

    description: Prose
    inputs: dict[str, Annotated[Input, BeforeValidator(lambda value: {} if value is None else value)]]
    process: Literal["sequential", "hierarchical"] = "sequential"
    model: Prose | None = None


class AgentPart(_Part):
    """An agent of agents.yaml."""

    role: Prose
    goal: Prose
    backstory: Prose
    llm: Prose | None = None
    tools: list[str] = []
    allow_delegation: bool = False
    max_iter: PositiveInt | None = None
    cache: bool | None = None
    verbose: bool = False  # ignored: it would print prompts and answers, past the log
    system_template: str | None = None
    prompt_template: str | None = None
    response_template: str | None = None


class TaskPart(_Part):
    """A task of tasks.yaml."""

    description: Prose
    expected_output: Prose
    agent: str | None = None
    context: list[str] | None = None
    tools: list[str] = []
    async_execution: bool = False
    human_input: bool = False
    markdown: bool = False


class Card(NamedTuple):
    """What callers see of a crew or flow."""

    name: str
    folder: Path
    file: YamlFile
    crew: CrewPart
    inputs: Inputs
    kind: Literal["crew", "flow"] = "crew"
    outline: Outline = Outline()


class Definition(NamedTuple):
    """All files of a crew, each checked by itself. `digest` is the hash of all of them."""

    card: Card
    agents: Mapping[str, AgentPart]
    tasks: Mapping[str, TaskPart]
    agents_file: YamlFile
    tasks_file: YamlFile
    digest: str

    @property
    def models(self) -> frozenset[str | None]:
        """The models of its agents and manager; None means CREWRELAY_MODEL."""
        crew = self.card.crew
        managers = [crew.model] if crew.process == "hierarchical" else []
        return frozenset([*managers, *(agent.llm or crew.model for agent in self.agents.values())])

    def where_named(self, model: str) -> tuple[YamlFile, Where]:
        """The file and place that names the model first."""
        for name, agent in self.agents.items():
            if agent.llm == model:
                return self.agents_file, (name, "llm")
        return self.card.file, ("model",)


def config(folder: Path, name: str) -> Path:
    return folder / "config" / f"{name}.yaml"


def read_card(name: str, folder: Path) -> Card:
    """Raises Faulty."""
    file = yaml_file.read(config(folder, "crew"))
    crew = _checked(CrewPart, file, (), file.data)
    inputs, faults = Inputs(crew.inputs), [*_unnameable(crew, file)]
    try:
        inputs.sample()
    except ValidationError as error:
        faults += [file.fault(("inputs", *item["loc"]), _refused_sample(item["msg"])) for item in error.errors()]
    if faults:
        raise Faulty(*faults)
    return Card(name, folder, file, crew, inputs, outline=outline_of(folder))


def read_definition(name: str, folder: Path) -> Definition:
    """Raises Faulty with the faults of all three files."""
    faults: list[Fault] = []
    found: list[Any] = []
    for read in (
        lambda: read_card(name, folder),
        lambda: _read_all(AgentPart, config(folder, "agents"), "an agent"),
        lambda: _read_all(TaskPart, config(folder, "tasks"), "a task"),
    ):
        try:
            found.append(read())
        except Faulty as faulty:
            faults += faulty.faults
    if faults:
        raise Faulty(*faults)
    card, (agents_file, agents), (tasks_file, tasks) = found
    return Definition(card, agents, tasks, agents_file, tasks_file, _digest(folder))


def _read_all(kind: type[M], path: Path, what: str) -> tuple[YamlFile, dict[str, M]]:
    file = yaml_file.read(path)
    if not isinstance(file.data, dict) or not file.data:
        raise Faulty(file.fault((), f"must hold {what} or more, each under its name; see `crewrelay crews new`"))
    faults: list[Fault] = []
    parts: dict[str, M] = {}
    for name, data in file.data.items():
        try:
            parts[str(name)] = _checked(kind, file, (str(name),), data)
        except Faulty as faulty:
            faults += faulty.faults
    if faults:
        raise Faulty(*faults)
    return file, parts


def _checked(kind: type[M], file: YamlFile, where: Where, data: Any) -> M:
    if not isinstance(data, dict):
        raise Faulty(file.fault(where, f"must be a mapping of {', '.join(kind.model_fields)}"))
    options = set(kind.model_fields)
    faults = [
        file.fault((*where, str(name)), remedy(str(name), options))
        for name, value in data.items()
        if name not in options
        and not (name in REFUSED and not value)  # a refused option that is switched off is accepted
    ]
    try:
        part = kind.model_validate(
            {name: value for name, value in data.items() if name in options and value is not None}
        )
    except ValidationError as error:
        raise Faulty(*faults, *yaml_file.faults_of(error, file, where, _unknown_of_an_input)) from None
    if faults:
        raise Faulty(*faults)
    return part


def _unknown_of_an_input(option: str) -> str:
    if option == "required":
        return "every input is, unless it has a default; remove it, or write a default"
    return remedy(option, Input.model_fields)


def _refused_sample(message: str) -> str:
    return f"its example or default is refused ({message.removeprefix('Value error, ')}); correct it"


def _unnameable(crew: CrewPart, file: YamlFile) -> Iterator[Fault]:
    for name in crew.inputs:
        if not name.isidentifier() or not name.isascii():
            yield file.fault(("inputs", name), "a name has letters, digits and _, and begins with no digit; rename it")


def _digest(folder: Path) -> str:
    known = hashlib.sha256()
    for path in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.py"))):
        content = path.read_bytes()
        known.update(f"\n{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return known.hexdigest()
