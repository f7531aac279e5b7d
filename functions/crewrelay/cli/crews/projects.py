"""`crewrelay crews check` of a project that `crewai create` made."""

import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from crewrelay.cli.terminal import exit_on_error, fail

if TYPE_CHECKING:
    from crewrelay.catalogue.project import Project
    from crewrelay.crews.projects.rehearsal import Rehearsed

_SEEDS = ("1", "2")  # of hashes: sets have another order in the second run


def add_project(folder: Path) -> None:
    """Install what it needs, check it in a process that has it, and say how to serve it."""
    from crewrelay.catalogue.project import FILE, is_project, name_of, read_project
    from crewrelay.catalogue.yaml_file import Faulty
    from crewrelay.local.dependencies import install
    from crewrelay.settings import CrewsSettings

    if not is_project(folder):
        fail(f"{folder} is no project of CrewAI: it has no {FILE} with [tool.crewai]; `crewai create` makes one")
    try:
        read_project(name_of(folder), folder)
    except Faulty as faulty:
        fail(str(faulty))
    with exit_on_error():
        served = CrewsSettings.read().folders
        new = install([folder], ["--python", sys.executable])
    typer.echo(f"installed {', '.join(new)}" if new else "all that it needs is installed")
    checked = subprocess.run([sys.executable, "-m", "crewrelay", "crews", "check", str(folder)], check=False)
    if checked.returncode:
        raise typer.Exit(checked.returncode)
    if not {folder.resolve(), folder.resolve().parent} & {one.resolve() for one in served}:
        served.append(folder)
    typer.echo(f"to serve it: CREWRELAY_CREWS={os.pathsep.join(map(str, served))} crewrelay serve")


def check_project(project: "Project", given: str | None, answers: list[str], *, run: bool) -> None:
    """Report its faults; if there are none, run it twice against a model's double, and report what differs."""
    from pydantic import ValidationError

    from crewrelay.catalogue.request import complaints

    inputs = project.card.inputs
    try:
        values = inputs.check(json.loads(given)) if given else inputs.sample()
    except json.JSONDecodeError as error:
        fail(f"--inputs is no JSON: {error}")
    except ValidationError as error:
        fail("; ".join(f"{one['field']}: {one['message']}" for one in complaints(error)))
    _refuse_faults(project)
    known = ", ".join(name if one.required else f"{name}={one.default!r}" for name, one in inputs.declared.items())
    typer.echo(f"{project.card.name}: no faults; its inputs: {known or 'none'}")
    if run:
        _compare(project, values, answers)


def _refuse_faults(project: "Project") -> None:
    from crewrelay.crews.running import checks
    from crewrelay.wiring.crews import models
    from crewrelay.wiring.logs import redaction
    from crewrelay.wiring.secrets import model_settings
    from crewrelay.wiring.variables import provide

    with exit_on_error():
        provide([project])
        faults = checks.faults_of(project, models(model_settings()))
    for fault in faults:
        typer.echo(redaction().text(str(fault)), err=True)
    if faults:
        raise typer.Exit(1)


def _compare(project: "Project", inputs: dict[str, Any], answers: list[str]) -> None:
    from crewrelay.crews.projects.divergence import differences, told
    from crewrelay.jobs.records.journal import Kind
    from crewrelay.wiring.logs import redaction

    work = {"inputs": inputs, "answers": answers}
    first = _rehearsed(project.folder, work, None)
    second = _rehearsed(project.folder, work, first)
    models = sum(one.kind is Kind.MODEL for one in first.asked)
    others = len(first.asked) - models
    typer.echo(f"run twice against a model's double: {models} model calls, {others} calls of tools and steps")
    if first.ended:
        typer.echo(f"the runs ended early, and what follows was not compared: {redaction().text(first.ended)}")
    found = differences(first, second, date.today())
    for line in told(found):
        typer.echo(redaction().text(line))
    if found:
        raise typer.Exit(1)
    typer.echo("the second run asked nothing that the first had not asked")


def _rehearsed(folder: Path, given: dict[str, Any], journal: "Rehearsed | None") -> "Rehearsed":
    """In a process of its own, as a resumed job has."""
    from crewrelay.crews.projects.rehearsal import Rehearsed
    from crewrelay.wiring.logs import redaction

    with tempfile.TemporaryDirectory(prefix="crewrelay-") as place:
        work = Path(place, "work.json")
        work.write_text(json.dumps(given | {"journal": journal and journal.model_dump(mode="json")}))
        done = subprocess.run(
            [sys.executable, "-m", "crewrelay", "crews", "rehearse", str(folder), str(work)],
            env=os.environ | {"PYTHONHASHSEED": _SEEDS[journal is not None]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            fail(f"the run against a model's double failed:\n{redaction().text(done.stderr)[-2000:]}")
        return Rehearsed.model_validate_json(work.read_text())


def rehearse(folder: Path, work: Path) -> None:
    """One of the two runs; the file has its inputs, answers and journal, and then what it asked."""
    from crewrelay.catalogue.project import name_of, read_project
    from crewrelay.crews.projects.rehearsal import Rehearsed, RehearsedCalls
    from crewrelay.crews.running.checks import NoPassages
    from crewrelay.crews.running.runner import CrewRunner
    from crewrelay.jobs.records.job import JobInput
    from crewrelay.wiring.crews import models
    from crewrelay.wiring.secrets import model_settings

    given = json.loads(work.read_text())
    project = read_project(name_of(folder), folder)
    journal = Rehearsed.model_validate(given["journal"]) if given["journal"] else None
    calls = RehearsedCalls(journal, given["answers"])
    runner = CrewRunner(models(model_settings()), NoPassages(), definition_of=lambda _: project)
    try:
        runner.run(JobInput(crew=project.card.name, inputs=given["inputs"]), calls)
    except (Exception, SystemExit) as error:
        calls.stop(error)
    work.write_text(calls.rehearsed.model_dump_json())
