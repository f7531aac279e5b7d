"""docs/your-own-crew.md, its commands run as they stand; and a stack that refuses a crew that is broken."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.definition import CrewPart, read_definition
from crewrelay.cli.commands import app
from crewrelay.settings import ModelSettings
from tests.support.processes import ROOT
from tests.support.stack import COMMAND, environment, running_stack

PAGE = (ROOT / "docs/your-own-crew.md").read_text()
NEW, CHECK, SERVE, LIST, RUN, COMPARE = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


def shell(command: str, folder: Path) -> str:
    """What it said, to the screen and of errors."""
    command = command.replace("crewrelay crews", f"{sys.executable} -m crewrelay crews")
    command = command.replace("curl ", "curl --silent ")
    paths = {"PYTHONPATH": str(ROOT / "functions")}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(**paths), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def checked(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> str:
    """What it says in this process, which has imported CrewAI; a shell would import it for each command."""
    words = shlex.split(command)
    variables = dict(word.split("=") for word in words if "=" in word)
    monkeypatch.chdir(folder)
    catalogue.cache_clear()
    done = CliRunner().invoke(app, words[words.index("crewrelay") + 1 :], env=environment(**variables))
    catalogue.cache_clear()
    assert done.exit_code == code, done.output
    return done.output


def test_the_page_is_true_from_new_to_an_answer_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell(NEW, tmp_path)
    assert "\n--- explain, by Explainer\n" in checked(CHECK, tmp_path, monkeypatch)
    tasks = tmp_path / "crews/mine/config/tasks.yaml"
    right = tasks.read_text()
    tasks.write_text(right.replace("agent: reader", "agent: raeder"))
    fault = checked(CHECK, tmp_path, monkeypatch, code=1)
    assert fault.replace(f"{tmp_path}/", "") in PAGE
    tasks.write_text(right)
    shutil.copytree(ROOT / "docs/crews/compare", tmp_path / "crews/compare")
    assert SERVE == "crewrelay serve\n"
    with running_stack(CREWRELAY_CREWS=str(tmp_path / "crews")) as stack:
        listed = json.loads(shell(LIST.replace("http://localhost:8000", stack.url), tmp_path))
        assert [crew["name"] for crew in listed["crews"]] == ["compare", "mine", "research"]
        answer = json.loads(shell(RUN.replace("http://localhost:8000", stack.url), tmp_path))
        assert answer["status"] == "completed"
        assert answer["answer"].startswith("A neural network is a mathematical function")
        assert answer["answerable"] is True
        given = {"first": "SQLite's rollback journal", "second": "neural networks"}
        compared = stack.client.post("/crewai/run", json={"crew": "compare", "inputs": given}).json()
        titles = {source["title"] for source in compared["sources"]}
        assert any("neural" in title.lower() for title in titles)
        assert len(titles) > 1
        status = stack.client.get(f"/crewai/status/{compared['job_id']}").json()
        assert (status["crew"], status["inputs"]) == ("compare", {**given, "language": "en"})


def test_the_shown_comparison_has_no_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "compare: no faults in its 2 agents and 3 tasks" in checked(COMPARE, ROOT, monkeypatch)


def test_the_shown_crew_yaml_and_tool_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crewrelay.crews.models.models import Models
    from crewrelay.crews.running.checks import faults_of

    crew, tool = re.findall(r"```(?:yaml|python)\n(.*?)```", PAGE, re.DOTALL)
    inputs = CrewPart.model_validate(yaml.safe_load(crew)).inputs
    config = tmp_path / "shown/config"
    config.mkdir(parents=True)
    (config / "crew.yaml").write_text(crew)
    (config / "agents.yaml").write_text("one: {role: a, goal: b, backstory: c, tools: [word_count]}\n")
    texts = " ".join(f"{{{name}}}" for name in inputs)
    (config / "tasks.yaml").write_text(f'do: {{description: "{texts}", expected_output: b, agent: one}}\n')
    (config.parent / "tools.py").write_text(tool)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert faults_of(read_definition("shown", config.parent), Models(ModelSettings.read())) == []


def test_a_stack_refuses_a_broken_crew_at_start_and_says_where(tmp_path: Path) -> None:
    shell(NEW, tmp_path)
    with (tmp_path / "crews/mine/config/crew.yaml").open("a") as file:
        file.write("model: gpt-4o\n")
    done = subprocess.run(
        [*COMMAND, "serve", "--port", "0"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT / "functions")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(r"crews/mine/config/crew.yaml:\d+: model: 'gpt-4o' is not of the form provider/model", done.stderr)
