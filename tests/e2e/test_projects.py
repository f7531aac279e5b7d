"""A project of `crewai create`, unchanged, on the real stack, whose crew processes are killed after each call.

`FAULTS=long` kills every form of them on both engines.
"""

import os
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.models import ScriptedModel
from tests.support.projects import create, declared_flow, edit, flow
from tests.support.stack import RunningStack, model_variables, running_stack
from tests.support.waiting import wait_until

LONG_FORM = os.environ.get("FAULTS") == "long"
# Their model calls: each agent answers once, and calls its tool before.
CALLS = {"latest_ai": 2, "report": 1, "gusts": 6, "fronts": 3}
AWS = {"sqlite": [], "aws": ["--aws"]}
KILLED = [*(("sqlite", name) for name in CALLS), *(("aws", name) for name in (CALLS if LONG_FORM else ["latest_ai"]))]
INPUTS: dict[str, dict[str, Any]] = {
    "latest_ai": {"topic": "rain", "current_year": "2026"},
    "report": {},
    "gusts": {"topic": "rain", "readers": [{"name": "Ann", "age": 40}]},
    "fronts": {"topic": "rain", "readers": [{"name": "Ann"}]},
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    create(folder, "latest_ai", "crew", "--classic")
    edit(create(folder, "report", "crew") / "crew.jsonc", ('"memory": true', '"memory": false'))
    flow(folder, "gusts")
    declared_flow(folder, "fronts")
    return folder


def kill_crews(stack: RunningStack) -> None:
    for pid in stack.crews():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("engine", "name"), KILLED)
def test_a_project_of_crewai_survives_kill_9_after_each_of_its_calls(
    models: int, shelf: Path, engine: str, name: str
) -> None:
    short = {"CREWRELAY_CREWS": str(shelf), "CREWRELAY_LEASE_SECONDS": "2"}
    calls = CALLS[name]
    with closing(ScriptedModel(models, "--delay", "1.5")) as model:
        own = {"OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_API_KEY": "none"}  # of the models that it builds itself
        with running_stack(1, *AWS[engine], **model_variables(model), **own, **short) as stack:
            body = {"crew": name, "inputs": INPUTS[name]}
            uncut = stack.client.post("/crewai/run", json=body).raise_for_status().json()
            assert uncut["usage"]["calls"] == model.calls() == calls
            job = stack.client.post("/crewai/run/async", json=body).raise_for_status().json()
            for call in range(1, calls + 1):
                wait_until(lambda call=call: model.calls() >= calls + 2 * call - 1, within=60)  # type: ignore[misc]
                kill_crews(stack)  # in mid-call: its reply is lost, and it is made again
                wait_until(lambda call=call: model.calls() >= calls + 2 * call, within=60)  # type: ignore[misc]
            ended = wait_until(
                lambda: (got := stack.client.get(job["status_url"]).json())["status"] == "completed" and got, within=60
            )
            assert ended["answer"] == uncut["answer"]
            assert model.calls() == calls + 2 * calls  # each once, and once more because it was cut
            assert ended["usage"]["calls"] == calls
