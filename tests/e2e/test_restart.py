"""The folder of a stack: it outlives every process, has one stack at a time, and is never overwritten.

A job that waits for a human waits over a restart of everything, and goes on with the answer.
"""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crewrelay.jobs.errors import Unavailable
from tests.support.http_apps import assert_problem
from tests.support.models import ScriptedModel
from tests.support.stack import (
    COMMAND,
    RunningStack,
    children,
    environment,
    model_variables,
    running_stack,
    serve_and_fail,
)
from tests.support.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}
KEYED = {"Idempotency-Key": "one"}
CREW = {
    "crew": "description: Writes what a human accepts.\ninputs: {topic: {}}\n",
    "agents": "writer: {role: Writer, goal: Write., backstory: You write.}\n",
    "tasks": (
        "writing: {description: 'Write about {topic}.', expected_output: A text., agent: writer, human_input: true}\n"
        "title: {description: Find a title., expected_output: A title., agent: writer}\n"
    ),
}
REQUEST = {"crew": "reviewed", "inputs": {"topic": "rain"}}


class Restarted(NamedTuple):
    """`stack` is up again; `done`, `begun` and `waiting` are jobs of the one before, with the last's status."""

    stack: RunningStack
    model: ScriptedModel
    done: dict[str, Any]
    begun: str
    waiting: dict[str, Any]
    refused: "subprocess.CompletedProcess[str]"  # another stack in its folder


def kill(stack: RunningStack) -> None:
    """Everything at once, as a power failure would."""
    for pid in (stack.process.pid, *children(stack.process.pid)):
        os.kill(pid, signal.SIGKILL)
    stack.process.wait(10)


def status_of(stack: RunningStack, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = stack.client.get(f"/crewai/status/{job_id}").json()
    return found


def is_(status: str, stack: RunningStack, job_id: str) -> bool:
    return bool(status_of(stack, job_id)["status"] == status)


@pytest.fixture(scope="module")
def restarted(models: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarted]:
    folder = tmp_path_factory.mktemp("restarted")
    config = folder / "crews/reviewed/config"
    config.mkdir(parents=True)
    for name, text in CREW.items():
        (config / f"{name}.yaml").write_text(text)
    data = folder / "data"
    variables = {"CREWRELAY_DATA": str(data), "CREWRELAY_CREWS": str(folder / "crews"), "CREWRELAY_LEASE_SECONDS": "2"}
    with closing(ScriptedModel(models)) as model:
        variables |= model_variables(model)
        with running_stack(1, "--auth", **variables) as stack:
            token = stack.client.headers["Authorization"]
            refused = serve_and_fail("--port", "0", "--data", str(data))
            done = stack.client.post("/crewai/run", json=EXAMPLE).json()
            reviewed = stack.client.post("/crewai/run", json=REQUEST)
            assert (reviewed.status_code, reviewed.json()["status"]) == (202, "waiting")
            waiting = status_of(stack, reviewed.json()["job_id"])
            model.script("--delay", "30")
            begun = stack.client.post("/crewai/run/async", json=EXAMPLE, headers=KEYED).json()["job_id"]
            wait_until(lambda: stack.jobs()[begun] == "running", within=20)
            kill(stack)
        model.script()
        with running_stack(1, "--auth", **variables) as stack:
            stack.client.headers["Authorization"] = token
            yield Restarted(stack, model, done, begun, waiting, refused)


def test_after_everything_was_killed_jobs_go_on_and_nothing_is_forgotten(restarted: Restarted) -> None:
    stack, done, begun = restarted.stack, restarted.done, restarted.begun
    assert stack.found == "1 unfinished job goes on"
    assert stack.client.post("/crewai/run/async", json=EXAMPLE, headers=KEYED).json()["job_id"] == begun
    known = status_of(stack, done["job_id"])
    assert (known["result"], known["usage"]) == (done["result"], done["usage"])
    wait_until(lambda: is_("completed", stack, begun), within=30)


def test_a_job_waits_over_a_restart_of_everything_and_is_answered_by_the_command(restarted: Restarted) -> None:
    stack, model, job_id = restarted.stack, restarted.model, restarted.waiting["job_id"]
    wait_until(lambda: is_("completed", stack, restarted.begun), within=30)  # whose calls are not to be counted
    model.script()
    first = status_of(stack, job_id)["waiting"]
    assert first == restarted.waiting["waiting"]
    assert first["task"] == "writing"
    assert answer(stack, job_id, "Shorter, please.")["status"] == "pending"
    wait_until(lambda: is_("waiting", stack, job_id), within=30)
    second = status_of(stack, job_id)["waiting"]
    assert second["id"] != first["id"]
    assert answer(stack, job_id)["id"] == second["id"]
    stack.client.post(f"/crewai/jobs/{job_id}/resume", json={"id": second["id"], "feedback": ""})
    wait_until(lambda: is_("completed", stack, job_id), within=30)
    receipt = status_of(stack, job_id)["receipt"]
    assert (receipt["calls_paid"], receipt["attempts"], receipt["relays"]) == (3, 1, 0)
    assert model.calls() == 2  # and the first before the restart


def answer(stack: RunningStack, job_id: str, *feedback: str) -> dict[str, Any]:
    token = stack.client.headers["Authorization"].removeprefix("Bearer ")
    done = subprocess.run(
        [*COMMAND, "answer", job_id, *feedback, "--json", "--url", stack.url],
        capture_output=True,
        text=True,
        check=False,
        env=environment(CREWRELAY_TOKEN=token),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_folder_has_one_stack_at_a_time(restarted: Restarted) -> None:
    """And another once it is dead, or there were no `restarted`."""
    refused = restarted.refused
    assert refused.returncode == 1
    assert refused.stderr == (
        f"crewrelay: another `crewrelay serve` keeps its jobs in {restarted.stack.data}: name another with --data\n"
    )


def test_a_damaged_file_is_one_clear_line_and_left_as_it_is(tmp_path: Path) -> None:
    damaged = tmp_path / "jobs.db"
    damaged.write_bytes(b"nonsense" * 1000)
    refused = serve_and_fail("--port", "0", "--data", str(tmp_path))
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert f"{damaged} is damaged" in refused.stderr
    assert damaged.read_bytes() == b"nonsense" * 1000


def test_a_file_that_is_busy_for_too_long_refuses_and_says_when_to_come_back(restarted: Restarted) -> None:
    stack = restarted.stack
    assert stack.data
    with closing(sqlite3.connect(stack.data / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = stack.client.post("/crewai/run/async", json=EXAMPLE)
    assert_problem(refused, 503, Unavailable.code)
    assert int(refused.headers["Retry-After"]) > 0
    assert stack.client.post("/crewai/run/async", json=EXAMPLE).status_code == 202
