"""docs/one-machine.md: its commands run as they stand, and the files that it names work."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from typer.testing import CliRunner

from crewrelay.cli.commands import app
from tests.support.processes import ROOT
from tests.support.stack import RunningStack, environment, running_stack
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs/one-machine.md").read_text()
BACKUP, RESTORE, INTAKE = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL))
SERVE = ROOT / "infra/serve"
EXAMPLE = {"topic": "neural networks", "language": "en"}


def shell(command: str, folder: Path) -> str:
    command = re.sub(r"^crewrelay ", f"{sys.executable} -m crewrelay ", command, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=environment(CREWRELAY_DATA=".crewrelay"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def unit_lines(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.+)$", (SERVE / "crewrelay.service").read_text(), re.MULTILINE)


class Machine(NamedTuple):
    folder: Path  # in which commands are typed
    stack: RunningStack
    variables: dict[str, str]

    def shell(self, command: str) -> str:
        return shell(command, self.folder)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """With a stack in the surroundings of the unit of systemd, whose state is in .crewrelay."""
    folder = tmp_path_factory.mktemp("machine")
    variables = dict(pair.split("=") for line in unit_lines("Environment") for pair in line.split())
    variables = {name: value.replace("%S/crewrelay", f"{folder}/.crewrelay") for name, value in variables.items()}
    with running_stack(1, **variables) as stack:
        yield Machine(folder, stack, variables)


def test_the_unit_of_systemd_runs_the_stack_in_its_own_folder(machine: Machine) -> None:
    assert unit_lines("ExecStart") == ["/opt/crewrelay/.venv/bin/crewrelay serve"]
    assert unit_lines("StateDirectory") == ["crewrelay"]
    state = str(machine.folder / ".crewrelay")
    assert machine.variables == {"CREWRELAY_DATA": state, "CREWRELAY_COLLECTIONS": state}
    assert str(machine.stack.data) == state
    assert machine.stack.client.post("/crewai/run", json=EXAMPLE).status_code == 200


def test_crews_answer_from_what_was_ingested_while_the_stack_runs(machine: Machine) -> None:
    """Without a restart."""
    question = {"topic": "What does the zorblax pump move?", "language": "en"}
    client, page = machine.stack.client, machine.folder / "pump.md"
    page.write_text("# The zorblax pump\n\nThe zorblax pump moves liquid helium at night.\n")
    assert "helium" not in client.post("/crewai/run", json=question).json()["answer"]
    collections = f"CREWRELAY_COLLECTIONS={machine.variables['CREWRELAY_COLLECTIONS']}"
    machine.shell(f"export {collections}\ncrewrelay ingest {page.name}")
    answer = client.post("/crewai/run", json=question).json()
    assert "The zorblax pump moves liquid helium at night. [1]" in answer["answer"]
    assert [source["title"] for source in answer["sources"]] == ["The zorblax pump"]
    assert answer["sources"][0]["url"] == page.name  # as it was given


def test_a_file_in_the_intake_folder_becomes_jobs_and_its_wrong_lines_are_named(machine: Machine) -> None:
    folder, stack = machine.folder / ".crewrelay/intake", machine.stack
    before = len(stack.jobs())
    machine.shell(INTAKE)
    (done,) = wait_until(lambda: list((folder / "done").glob("*.jsonl")), within=20)
    assert len(stack.jobs()) == before + 2
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (rejected,) = done.with_name(f"{done.name}.rejected").read_text().splitlines()
    assert json.loads(rejected) == json.loads(shown)
    message = f"{done.name.removesuffix('.topics.jsonl')}:3"
    third = stack.client.get(f"/crewai/messages/{message}").raise_for_status().json()
    assert third["inputs"]["topic"] == "isolation levels"
    done.rename(folder / "taken" / done.name)  # as after a restore
    wait_until(lambda: list((folder / "done").glob("*.jsonl")), within=20)
    assert len(stack.jobs()) == before + 2


def test_a_backup_is_made_while_the_stack_runs_and_restored_to_a_stack_with_the_compose_files_command(
    machine: Machine, tmp_path: Path
) -> None:
    """Which has tokens, and so may be reached from elsewhere."""
    kept = machine.stack.client.post("/crewai/run", json=EXAMPLE).raise_for_status().json()
    assert "jobs-backup.db" in machine.shell(BACKUP)
    later = machine.stack.client.post("/crewai/run", json=EXAMPLE).raise_for_status().json()
    shutil.copytree(machine.folder / ".crewrelay", tmp_path / ".crewrelay")
    shutil.copy(machine.folder / "jobs-backup.db", tmp_path)
    shell(RESTORE, tmp_path)
    service = yaml.safe_load((SERVE / "compose.yaml").read_text())["services"]["crewrelay"]
    program, serve, *options = service["command"]
    assert (program, serve) == ("crewrelay", "serve")
    with running_stack(1, *options, "--data", str(tmp_path / ".crewrelay")) as stack:
        stack.client.base_url = re.sub("//[0-9.]+:", "//127.0.0.1:", stack.url)
        restored = stack.client.get(f"/crewai/status/{kept['job_id']}").raise_for_status().json()
        assert restored["answer"] == kept["answer"]
        assert stack.client.get(f"/crewai/status/{later['job_id']}").status_code == 404
        assert stack.client.post("/crewai/run", json=EXAMPLE).status_code == 200
        assert stack.client.post("/crewai/run", json=EXAMPLE, headers={"Authorization": ""}).status_code == 401
    assert service["volumes"] == ["data:/data"]
    assert "CREWRELAY_DATA=/data " in (SERVE / "Dockerfile").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "crewrelay.service"
    installed = str(Path(sys.executable).with_name("crewrelay"))
    text = (SERVE / "crewrelay.service").read_text()
    unit.write_text(text.replace("/opt/crewrelay/.venv/bin/crewrelay", installed))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_is_built_from_what_the_stack_needs() -> None:
    dockerfile, ignored = ((SERVE / name).read_text() for name in ("Dockerfile", "Dockerfile.dockerignore"))
    of_functions = (ROOT / "infra/Dockerfile").read_text()
    for pinned in (r"^ARG PYTHON=(.+)$", r"uv==([\d.]+)"):
        assert re.findall(pinned, dockerfile, re.MULTILINE) == re.findall(pinned, of_functions, re.MULTILINE)
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for word in line.split()}
    assert copied == set(re.findall(r"^!(.+)$", ignored, re.MULTILINE))
    assert {"template.yaml", "functions"} < copied
    assert all((ROOT / path).exists() for path in copied)


def test_the_page_names_commands_that_exist() -> None:
    commands = set(re.findall(r"(?:\$ |/bin/|exec crewrelay )crewrelay (token \w+|\w+)", CONSOLE))
    assert len(commands) == 3
    for command in commands:
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0, command
