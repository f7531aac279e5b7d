"""`crewrelay crews`: create, check and list crews."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from crewrelay.cli.crews.projects import add_project, check_project, rehearse
from crewrelay.cli.options import AsJson
from crewrelay.cli.output.text import say_json, say_line
from crewrelay.cli.terminal import exit_on_error, fail

if TYPE_CHECKING:
    from crewrelay.catalogue.definition import Definition

crews_app = typer.Typer(help="Create, check and list crews.", no_args_is_help=True)


@crews_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    folder: Annotated[
        Path | None, typer.Option("--in", help="Parent folder; default: CREWRELAY_CREWS, else crews.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a new crew that can run as it is."""
    from crewrelay.catalogue.catalogue import NAME, NAME_RULE, catalogue, is_crew
    from crewrelay.settings import CrewsSettings

    with exit_on_error():
        if not NAME.fullmatch(name):
            fail(f"{name!r} is not a valid name: {NAME_RULE}")
        if known := catalogue().folder(name):
            fail(f"there is a crew {name} already, in {known}; choose another name")
        found = [shelf for shelf in CrewsSettings.read().folders if not is_crew(shelf)]
        default = next(iter(found), Path("crews"))
    parent = folder or default
    target = parent / name
    if target.exists() or target.is_symlink():
        fail(f"{target} exists; choose another name, or another folder with --in")
    try:
        _write(target)
    except OSError as error:
        fail(f"can't write {target}: {error.strerror or error}; choose another folder with --in")
    if as_json:
        return say_json({"crew": name, "folder": str(target)})
    for file in ("crew", "agents", "tasks"):
        typer.echo(f"wrote {target / 'config' / file}.yaml")
    typer.echo(f"next: crewrelay crews check {target}")
    if parent not in (*found, Path("crews")):
        typer.echo(f"to use it, set CREWRELAY_CREWS={os.pathsep.join(map(str, [*found, parent]))}")


def _write(target: Path) -> None:
    """Create the folder atomically, by a rename. Raises OSError."""
    from crewrelay.catalogue.catalogue import SCAFFOLD

    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as workplace:
            complete = Path(workplace) / "crew"
            shutil.copytree(SCAFFOLD, complete / "config", copy_function=shutil.copyfile)
            os.rename(complete, target)
    except OSError:
        for folder in made:
            folder.rmdir()
        raise


@crews_app.command("list")
def list_crews(as_json: AsJson = False) -> None:
    """List the crews: name, inputs and description."""
    from crewrelay.catalogue.catalogue import catalogue

    with exit_on_error():
        names = catalogue().names()
        for name in names:
            if as_json:
                say_line({"crew": name, "description": _line_of(name)})
            else:
                typer.echo(f"{name:{max(map(len, names))}}  {_line_of(name)}")


def _line_of(name: str) -> str:
    from crewrelay.catalogue.catalogue import catalogue
    from crewrelay.jobs.errors import InvalidCrew

    try:
        card = catalogue().card(name)
    except InvalidCrew as error:
        if not catalogue().is_project(name):
            raise
        return f"can't run: {error}"
    return f"{', '.join(card.crew.inputs) or 'no inputs'}: {card.crew.description}"


@crews_app.command("check")
def check(
    crew: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="A crew's name, or its folder.")],
    inputs: Annotated[str | None, typer.Option(help="Of a project's run, as JSON; default: any that fit.")] = None,
    answer: Annotated[
        list[str] | None, typer.Option(help="To the next question of a project's run; repeatable; then: it is good.")
    ] = None,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Whether a project is run.")] = True,
) -> None:
    """Report all faults of a crew; if there are none, run it with the built-in model, which needs no key.

    A project of CrewAI's own is run twice against a model's double, to find what differs. Its own code, and the tools
    that this calls, do what they do.
    """
    from crewrelay.catalogue.definition import read_definition
    from crewrelay.catalogue.project import Project, is_project, name_of, read_project
    from crewrelay.catalogue.yaml_file import Faulty

    folder = _folder_of(crew)
    definition: Definition | Project
    try:
        if is_project(folder):
            definition = read_project(name_of(folder), folder)
        else:
            definition = read_definition(folder.absolute().name, folder)
    except Faulty as faulty:
        _refuse(*map(str, faulty.faults))
    from crewrelay.crews.environment import CREW_ENVIRONMENT

    with tempfile.TemporaryDirectory(prefix="crewrelay-") as scratch:
        os.environ.update(CREW_ENVIRONMENT)  # before CrewAI is imported
        os.environ.setdefault("CREWAI_STORAGE_DIR", scratch)
        if isinstance(definition, Project):
            check_project(definition, inputs, answer or [], run=run)
        else:
            _check(definition)


@crews_app.command("add")
def add(
    path: Annotated[Path, typer.Argument(help="The folder of a project that `crewai create` made.")],
) -> None:
    """Install what a project needs into this environment, whose packages stay as they are, and check the project."""
    add_project(path)


@crews_app.command("rehearse", hidden=True)
def rehearse_project(folder: Path, work: Path) -> None:
    """A run of `check`, in a process of its own."""
    rehearse(folder, work)


def _folder_of(crew: str) -> Path:
    from crewrelay.catalogue.catalogue import NAME, NAME_RULE, catalogue, is_crew
    from crewrelay.catalogue.project import is_project

    with exit_on_error():
        named = catalogue().folder(crew)
        known = ", ".join(catalogue().names())
    path = Path(crew)
    if named is None and path.is_dir():
        if is_project(path):
            return path
        if not is_crew(path):
            fail(f"{crew} is not a crew folder: it has no config/crew.yaml; `crewrelay crews new` writes one")
        if not NAME.fullmatch(path.absolute().name):
            fail(f"{crew}: {NAME_RULE}; rename the folder")
        return path
    return named or fail(f"there is no crew {crew}: use one of {known}, or a crew's folder; see CREWRELAY_CREWS")


def _check(definition: "Definition") -> None:
    from crewrelay.crews.keyless.extractive import ExtractiveLLM
    from crewrelay.crews.running import checks, dry_run
    from crewrelay.retrieval.embedded.collections import EmbeddedRetriever
    from crewrelay.wiring.crews import models
    from crewrelay.wiring.secrets import model_settings

    with exit_on_error():
        new_model = models(model_settings())
        if faults := checks.faults_of(definition, new_model):
            _refuse(*map(str, faults))
        default = new_model().model if None in definition.models else ""
    agents, tasks = len(definition.agents), len(definition.tasks)
    typer.echo(f"{definition.card.name}: no faults in its {agents} agents and {tasks} tasks")
    for name in sorted(definition.models, key=str):
        typer.echo(f"model {name or f'{default} (CREWRELAY_MODEL)'}: configured")
    given = definition.card.inputs.sample()
    values = ", ".join(f"{name}={value!r}" for name, value in given.items())
    typer.echo(f"a dry run with {ExtractiveLLM.NAME} on the shipped corpus{': ' if values else ''}{values}")
    try:
        outcomes = dry_run.dry_run(definition, given, EmbeddedRetriever())
    except Exception as error:
        fail(f"the dry run failed: {type(error).__name__}: {error}")
    for outcome in outcomes:
        typer.echo(f"\n--- {outcome.task}, by {outcome.agent}\n{outcome.text}")


def _refuse(*faults: str) -> NoReturn:
    for fault in faults:
        typer.echo(fault, err=True)
    raise typer.Exit(1)
