"""A project of `crewai create`, unchanged, on the real stack, whose crew processes are killed after each call."""

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.models import ScriptedModel
from tests.support.projects import create
from tests.support.stack import RunningStack, model_variables, running_stack
from tests.support.waiting import wait_until

CALLS = 2  # an agent's answer to each of two tasks
INPUTS = {"topic": "rain", "current_year": "2026"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    create(folder, "latest_ai", "crew", "--classic")
    return folder


def kill_crews(stack: RunningStack) -> None:
    for pid in stack.crews():
        os.kill(pid, signal.SIGKILL)


def test_a_project_of_crewai_survives_kill_9_after_each_of_its_calls(models: int, shelf: Path) -> None:
    short = {"CREWRELAY_CREWS": str(shelf), "CREWRELAY_LEASE_SECONDS": "2"}
    with (
        closing(ScriptedModel(models, "--delay", "1.5")) as model,
        running_stack(1, **model_variables(model), **short) as stack,
    ):
        body = {"crew": "latest_ai", "inputs": INPUTS}
        uncut = stack.client.post("/crewai/run", json=body).raise_for_status().json()
        assert uncut["usage"]["calls"] == model.calls() == CALLS
        job = stack.client.post("/crewai/run/async", json=body).raise_for_status().json()
        for call in range(1, CALLS + 1):
            wait_until(lambda call=call: model.calls() >= CALLS + 2 * call - 1, within=60)  # type: ignore[misc]
            kill_crews(stack)  # in mid-call: its reply is lost, and it is made again
            wait_until(lambda call=call: model.calls() >= CALLS + 2 * call, within=60)  # type: ignore[misc]
        ended = wait_until(
            lambda: (got := stack.client.get(job["status_url"]).json())["status"] == "completed" and got, within=60
        )
        assert ended["answer"] == uncut["answer"]
        assert model.calls() == CALLS + 2 * CALLS  # each once, and once more because it was cut
        assert ended["usage"]["calls"] == CALLS
