"""`crewrelay crews check` of projects, as their users type it."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.cli.commands import app
from tests.support.processes import ROOT
from tests.support.projects import (
    classic,
    create,
    crew_with_mcp,
    declared_flow,
    edit,
    flow,
    json_crew,
    little_flow,
    looks_of,
    read_variables,
)
from tests.support.rehearsals import Rehearsals

PAGE = (ROOT / "docs/your-crewai-project.md").read_text()


def checked(folder: Path, *options: str, code: int = 0) -> str:
    catalogue.cache_clear()
    result = CliRunner().invoke(app, ["crews", "check", str(folder), *options])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def forked(rehearsals: Rehearsals, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two runs are forks of processes with the same hash seeds. Without it, they are what users have."""
    monkeypatch.setattr("crewrelay.cli.crews.projects.subprocess", rehearsals)


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an address that nobody answers at: only its double does."""
    for name, value in {"OPENAI_BASE_URL": "http://127.0.0.1:1", "OPENAI_API_KEY": "none"}.items():
        monkeypatch.setenv(name, value)


def fresh_json_crew(folder: Path, name: str) -> Path:
    """As CrewAI makes it: it has memory."""
    return create(folder, name, "crew")


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize(
    ("make", "calls"), [(classic, 2), (json_crew, 1), (fresh_json_crew, 3), (flow, 5), (declared_flow, 2)]
)
def test_projects_of_all_forms_ask_the_same_twice(tmp_path: Path, make: Any, calls: int) -> None:
    folder = make(tmp_path, f"rehearsed_{make.__name__}")
    told = checked(folder)
    assert "no faults" in told
    assert "the second run asked nothing that the first had not asked" in told
    assert f"{calls} model calls" in told
    assert not looks_of(folder).exists()  # the double calls no tool


@pytest.mark.usefixtures("forked")
def test_an_mcp_server_is_asked_for_its_tools_in_the_first_run_only(tmp_path: Path) -> None:
    folder = crew_with_mcp(tmp_path, "rehearsed_mcp")
    assert "the second run asked nothing that the first had not asked" in checked(folder)
    assert looks_of(folder).read_text() == "started\n"  # for its list; the double calls no tool
    edit(folder / "server.py", ("from mcp", "raise SystemExit(3)\nfrom mcp"))
    assert "The MCP server python does not answer" in checked(folder)


@pytest.mark.usefixtures("forked")
def test_a_fresh_project_passes_the_check_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = re.search(r"^crewai create (crew) (\w+) (--classic) --skip-provider$", PAGE, re.MULTILINE)
    assert command
    create(tmp_path, command[2], command[1], command[3])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREWRELAY_MODEL", "openai/gpt-4o-mini")
    assert "crewrelay crews check ./report\n" in PAGE
    first, *others = checked(Path("./report")).splitlines()
    assert first == "report: no faults; its inputs: topic, current_year"
    assert others[-1] == "the second run asked nothing that the first had not asked"


def test_what_differs_is_told_of_a_project(tmp_path: Path) -> None:
    texts = "(set('abcdefgh'), 'all', __import__('uuid').uuid4())"
    step = f"return [LLM(model='openai/gpt-4o-mini').call(f'Tell {{text}}.') for text in {texts}]"
    told = checked(little_flow(tmp_path, step, "unsteady"), code=1)
    assert "call 1, the prompt “Tell {" in told
    assert "differs by the order of a set or of files" in told
    assert "call 3, the prompt “Tell " in told
    assert "differs by a random id" in told
    assert "up to 3 model calls are paid again; sort it" in told
    assert "call 2" not in told


@pytest.mark.usefixtures("forked")
def test_todays_date_is_told_of_a_project(tmp_path: Path) -> None:
    now = "{__import__('datetime').date.today()}"
    step = f'return LLM(model="openai/gpt-4o-mini").call(f"It is {now}.")'
    told = checked(little_flow(tmp_path, step, "dated"), code=1)
    assert f"differs by today's date: '{date.today()}'" in told


@pytest.mark.usefixtures("forked")
def test_the_variables_of_a_project_are_named_if_missing_and_never_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERPER_API_KEY", raising=False)
    step = "raise ValueError('no search with ' + __import__('os').environ['SERPER_API_KEY'])"
    folder = read_variables(little_flow(tmp_path, step, "telling"), "SERPER_API_KEY")
    assert "SERPER_API_KEY is not set; set it in the environment" in checked(folder, code=1)
    monkeypatch.setenv("SERPER_API_KEY", "a-key-of-serper")
    told = checked(folder)
    assert "no search with [redacted]" in told
    assert "a-key-of-serper" not in told


@pytest.mark.usefixtures("forked")
def test_inputs_can_be_given_and_a_run_left_out(tmp_path: Path) -> None:
    folder = little_flow(tmp_path, "open('/gone/' + self.state.topic)", "told")
    assert "ended early, and what follows was not compared: FileNotFoundError" in checked(folder)
    assert "'/gone/snow'" in checked(folder, "--inputs", '{"topic": "snow"}')
    assert "topic: " in checked(folder, "--inputs", '{"topic": 1}', code=1)
    assert "--inputs is no JSON" in checked(folder, "--inputs", "{", code=1)
    assert checked(folder, "--no-run") == "told: no faults; its inputs: topic='rain'\n"


@pytest.mark.usefixtures("forked")
def test_questions_get_the_answers_that_are_given(tmp_path: Path) -> None:
    """A project that wants a certain word asks until it has it, but not for ever."""
    step = "while input('Your level?') != 'expert': pass\n        return LLM(model='openai/a').call('Go.')"
    folder = little_flow(tmp_path, step, "insisting")
    assert "it asks 'Your level?' again and again; give it an answer with --answer" in checked(folder)
    assert "run twice against a model's double: 1 model calls" in checked(folder, "--answer=novice", "--answer=expert")
