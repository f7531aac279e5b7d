"""docs/your-crewai-project.md: its code and its pyproject.toml do what it says.

Its command is in tests/integration/test_crews_check.py.
"""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM

from crewrelay.catalogue.project import read_project
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records.job import JobInput
from crewrelay.testing import Unjournaled
from tests.support.crews import Shelf
from tests.support.doubles.openai_server import openai_server
from tests.support.processes import ROOT
from tests.support.projects import create

PAGE = (ROOT / "docs/your-crewai-project.md").read_text()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As its first command makes it."""
    command = re.search(r"^crewai create (crew) (\w+) (--classic) --skip-provider$", PAGE, re.MULTILINE)
    assert command
    return create(tmp_path_factory.mktemp("page"), command[2], command[1], command[3])


def test_its_pyproject_refines_the_inputs(project: Path) -> None:
    toml = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
    path = project / "pyproject.toml"
    path.write_text(path.read_text() + toml)
    read = read_project("report", project)
    assert read.card.crew.description == "Writes a report."
    assert read.card.inputs.check({"topic": "rain"}) == {"topic": "rain", "current_year": "2026"}
    with openai_server() as server:
        model = LLM(model="gpt-4o-mini", provider="openai", base_url=server.url, api_key="none")
        runner = CrewRunner(lambda *_: model, Shelf(), definition_of=lambda _: read)
        inputs = read.card.inputs.check({"topic": "rain"})
        assert runner.run(JobInput(crew="report", inputs=inputs), Unjournaled()).text
        assert len(server.asked) == 2


def test_its_code_is_a_plain_call_and_a_question_outside_of_crewrelay(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"fetch_weather": "rain in {}".format, "city": "Bern", "date": date}
    step, ask = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(step, names)  # noqa: S102  # the page's own code
    assert (names["weather"], names["today"]) == ("rain in Bern", date.today().isoformat())
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    exec(ask, names)  # noqa: S102  # the page's own code
    assert names["go_on"] == "yes"


@pytest.mark.parametrize("option", re.findall(r"`(\w+)`", PAGE.partition("| what | why |")[2].partition("\n\n")[0]))
def test_what_it_says_can_not_run_is_refused(option: str) -> None:
    from crewrelay.crews.projects.faults import REFUSED_OF_PROJECTS

    assert option in REFUSED_OF_PROJECTS
