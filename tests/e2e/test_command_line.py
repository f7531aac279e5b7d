"""docs/command-line.md on a real stack: its examples, the JSON of each command, and a batch that is killed."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crewrelay.cli.commands import app
from tests.support.processes import ROOT
from tests.support.stack import COMMAND, RunningStack, environment, running_stack
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs/command-line.md").read_text()
ROOM = 12  # unfinished jobs


@pytest.fixture(scope="module")
def limited() -> Iterator[RunningStack]:
    """By its name, as a person might call it."""
    with running_stack(1, "--host", "localhost", CREWRELAY_MAX_UNFINISHED=str(ROOM)) as stack:
        yield stack


def variables(stack: RunningStack) -> dict[str, str]:
    return environment(CREWRELAY_URL=stack.url, CREWRELAY_DATA=str(stack.data))


def shell(command: str, stack: RunningStack, folder: Path) -> str:
    command = re.sub(r"\bcrewrelay (?=[a-z])", f"{sys.executable} -m crewrelay ", command)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=variables(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done.stdout


def test_the_pages_examples_do_what_they_say(limited: RunningStack, tmp_path: Path) -> None:
    jobs, batch = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    said = shell(jobs, limited, tmp_path)
    assert "\nstatus     completed\n" in said
    assert "task 1 of 2: research (Researcher)" in said
    assert "['completed']" in said
    assert "2 of 2 results are in results.jsonl: 2 completed" in shell(batch, limited, tmp_path)
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    first = json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0])
    assert first.keys() == json.loads(shown).keys()


def test_each_commands_json_can_be_read(limited: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--json"], env=variables(limited))
        assert done.exit_code == 0, done.output
        return done.stdout

    def one(*arguments: str) -> Any:
        return json.loads(said(*arguments))

    def many(*arguments: str) -> Any:
        return [json.loads(line) for line in said(*arguments).splitlines()]

    job_id = one("run", "sqlite")["job_id"]
    assert one("watch", job_id)["result"] == one("status", job_id)["result"] != ""
    assert one("submit", "sqlite", "--key", "one")["job_id"] == one("submit", "sqlite", "--key", "one")["job_id"]
    assert many("events", job_id)[-1]["event"] == "completed"
    assert one("timeline", job_id)["rows"][-1]["kind"] == "end"
    assert job_id in {job["job_id"] for job in many("jobs")}
    assert one("delete", job_id) == {"job_id": job_id, "deleted": True}
    (tmp_path / "topics.txt").write_text("sqlite\n")
    assert one("batch", "topics.txt")["results"] == {"completed": 1}
    assert many("search", "sqlite")[0]["text"]
    assert many("collections") == many("collections", "list")
    assert [crew["crew"] for crew in many("crews", "list")] == ["research"]
    assert one("crews", "new", "mine", "--in", "crews")["folder"] == "crews/mine"
    token = one("token", "create", "--tenant", "acme")
    assert token["id"] in {each["id"] for each in many("token", "list")}
    assert one("token", "revoke", token["id"])["revoked_at"]
    assert one("backup", "copy.db")["bytes"] > 0
    assert one("restore", "copy.db", "--data", "new")["replaced"] is None


def test_a_batch_that_is_killed_again_and_again_loses_and_doubles_nothing(
    limited: RunningStack, tmp_path: Path
) -> None:
    """More lines than there is room for, so that it is killed while it submits, waits and collects."""
    number, before = 3 * ROOM, len(limited.jobs())
    (tmp_path / "topics.csv").write_text("topic,language\n" + "".join(f"sqlite {n},en\n" for n in range(number)))
    out = tmp_path / "results.jsonl"
    command = [*COMMAND, "batch", "topics.csv", "--out", str(out)]

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []

    def killed_once(done: int, accepted: int) -> None:
        process = subprocess.Popen(command, cwd=tmp_path, env=variables(limited), stderr=subprocess.DEVNULL)
        wait_until(lambda: len(limited.jobs()) - before >= accepted and len(lines()) >= done, within=60, every=0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    for done, accepted in ((0, 1), (1, ROOM), (ROOM, ROOM + 1), (2 * ROOM, number)):
        killed_once(done, accepted)
    with out.open("a") as file:
        file.write('{"line": 99, "cust')  # as a power failure may leave it
    last = subprocess.run(command, cwd=tmp_path, env=variables(limited), capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert sorted(line["line"] for line in lines()) == list(range(2, number + 2))
    assert {line["job"]["status"] for line in lines()} == {"completed"}
    assert len(limited.jobs()) - before == number
