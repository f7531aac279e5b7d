"""A crew whose task is reviewed by a human: its job waits over a restart of everything, and goes on with the answer."""

import json
import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.models import ScriptedModel
from tests.support.stack import COMMAND, RunningStack, children, environment, model_variables, running_stack
from tests.support.waiting import wait_until

CREW = {
    "crew": "description: Writes what a human accepts.\ninputs: {topic: {}}\n",
    "agents": "writer: {role: Writer, goal: Write., backstory: You write.}\n",
    "tasks": (
        "writing: {description: 'Write about {topic}.', expected_output: A text., agent: writer, human_input: true}\n"
        "title: {description: Find a title., expected_output: A title., agent: writer}\n"
    ),
}
REQUEST = {"crew": "reviewed", "inputs": {"topic": "rain"}}


@pytest.fixture
def crews(tmp_path: Path) -> Path:
    config = tmp_path / "crews/reviewed/config"
    config.mkdir(parents=True)
    for name, text in CREW.items():
        (config / f"{name}.yaml").write_text(text)
    return tmp_path / "crews"


def status_of(stack: RunningStack, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = stack.client.get(f"/crewai/status/{job_id}").json()
    return found


def waits(stack: RunningStack, job_id: str) -> bool:
    return bool(status_of(stack, job_id)["status"] == "waiting")


def test_a_job_waits_over_a_restart_of_everything_and_is_answered_by_the_command(
    models: int, crews: Path, tmp_path: Path
) -> None:
    variables = {"CREWRELAY_DATA": str(tmp_path / "data"), "CREWRELAY_CREWS": str(crews)}
    with closing(ScriptedModel(models)) as model:
        variables |= model_variables(model)
        with running_stack(1, **variables) as stack:
            answered = stack.client.post("/crewai/run", json=REQUEST)
            assert (answered.status_code, answered.json()["status"]) == (202, "waiting")
            job_id = answered.json()["job_id"]
            for pid in (stack.process.pid, *children(stack.process.pid)):
                os.kill(pid, signal.SIGKILL)
            stack.process.wait(10)
        with running_stack(1, **variables) as stack:
            first = status_of(stack, job_id)["waiting"]
            assert first["task"] == "writing"
            said = answer(stack.url, job_id, "Shorter, please.")
            assert said["status"] == "pending"
            wait_until(lambda: waits(stack, job_id), within=30)
            second = status_of(stack, job_id)["waiting"]
            assert second["id"] != first["id"]
            assert answer(stack.url, job_id)["id"] == second["id"]
            stack.client.post(f"/crewai/jobs/{job_id}/resume", json={"id": second["id"], "feedback": ""})
            wait_until(lambda: status_of(stack, job_id)["status"] == "completed", within=30)
            receipt = status_of(stack, job_id)["receipt"]
            assert (receipt["calls_paid"], receipt["attempts"], receipt["relays"]) == (3, 1, 0)
            assert model.calls() == 3


def answer(url: str, job_id: str, *feedback: str) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "answer", job_id, *feedback, "--json", "--url", url],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
