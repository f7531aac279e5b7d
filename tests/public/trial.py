"""One project: `python -m tests.public.trial FOLDER REPORT ANSWER…` reads it, checks it, and runs it to its end
against a model's double, with the requests of its tools answered by a stub.
"""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crewrelay.catalogue.project import Project, name_of, read_project
from crewrelay.catalogue.project_files import sources
from crewrelay.catalogue.yaml_file import Faulty
from crewrelay.crews.environment import CREW_ENVIRONMENT
from crewrelay.jobs.errors import InvalidCrew
from tests.public.stub import answer_all_requests

_VARIABLE = re.compile(r"""(?:environ(?:\.get)?\s*[\[(]|getenv\s*\()\s*["']([A-Z][A-Z0-9_]*)["']\s*[)\]]""")
_PROVIDER = re.compile(r"""["']?\b(?:llm|model)["']?\s*[:=]\s*["']?([a-z_]+)/""")


def set_variables(folder: Path) -> None:
    """What its code names without a default, its models' keys, and those that CrewAI's own tools ask for."""
    texts = [path.read_text(errors="replace") for path in sources(folder)]
    named = {name for text in texts for name in _VARIABLE.findall(text)}
    named |= {f"{provider.upper()}_API_KEY" for text in texts for provider in _PROVIDER.findall(text)}
    for name in {*named, "OPENAI_API_KEY", "SERPER_API_KEY", "EXA_API_KEY", "TAVILY_API_KEY"}:
        os.environ.setdefault(name, "stub")


def how_far(folder: Path, answers: list[str]) -> Iterator[tuple[str, str]]:
    """How far it has come, and why no further; the last one counts."""
    from crewrelay.crews.running import checks
    from crewrelay.wiring.crews import models
    from crewrelay.wiring.secrets import model_settings

    try:
        project = read_project(name_of(folder), folder)
    except Faulty as faulty:
        yield "found", str(faulty)
        return
    yield "loads", ""
    if faults := checks.faults_of(project, models(model_settings())):
        yield "loads", str(faults[0])
        return
    yield "checks", ""
    yield from _run(project, answers)


def _run(project: Project, answers: list[str]) -> Iterator[tuple[str, str]]:
    from crewrelay.crews.projects.rehearsal import RehearsedCalls
    from crewrelay.crews.running.checks import NoPassages
    from crewrelay.crews.running.runner import CrewRunner
    from crewrelay.jobs.records.job import JobInput
    from crewrelay.wiring.crews import models
    from crewrelay.wiring.secrets import model_settings

    calls = RehearsedCalls(answers=answers)
    runner = CrewRunner(models(model_settings()), NoPassages(), definition_of=lambda _: project)
    try:
        runner.run(JobInput(crew=project.card.name, inputs=project.card.inputs.sample()), calls)
    except (Exception, SystemExit) as error:
        calls.stop(error)
    made = Counter(one.kind.value for one in calls.rehearsed.asked)
    counted = ", ".join(f"{count} {kind} calls" for kind, count in sorted(made.items()))
    if calls.rehearsed.ended:
        yield f"begins: {counted}", calls.rehearsed.ended
    else:
        yield f"runs: {counted}", ""


def main(folder: Path, report: Path, answers: list[str]) -> None:
    os.environ.update(CREW_ENVIRONMENT)
    set_variables(folder)
    answer_all_requests()
    found = {"form": "", "far": "", "why": ""}
    try:
        found["form"] = read_project(name_of(folder), folder).card.kind
    except (Faulty, InvalidCrew) as error:
        found["why"] = str(error)
    try:
        for found["far"], found["why"] in how_far(folder, answers):
            report.write_text(json.dumps(found))
    except (Exception, SystemExit) as error:
        found["why"] = f"{type(error).__name__}: {error}"
    report.write_text(json.dumps(found | {"why": " ".join(found["why"].split())}))
    sys.stdout.flush()
    os._exit(0)  # threads of the project may still wait


main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
