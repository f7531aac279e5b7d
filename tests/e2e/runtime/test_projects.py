"""Projects of `crewai create` in the image's functions: killed in mid-call, found by the sweeper, and finished.

The crew with an MCP server in a process of its own is killed in both of its calls, the Python flow in its last.
`FAULTS=long` kills each form in each of its calls.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.runtime.deployment import Deployment
from tests.e2e.runtime.events import schedule, sqs
from tests.e2e.runtime.slot import Slot
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT
from tests.support.projects import create, crew_with_mcp, declared_flow, edit, flow
from tests.support.stack import model_variables
from tests.support.waiting import wait_until

INPUTS: dict[str, dict[str, Any]] = {
    "latest_ai": {"topic": "rain", "current_year": "2026"},
    "report": {},
    "gusts": {"topic": "rain", "readers": [{"name": "Ann", "age": 40}]},
    "fronts": {"topic": "rain", "readers": [{"name": "Ann"}]},
    "squalls": {},
}
LONG_FORM = os.environ.get("FAULTS") == "long"
CALLS = {"latest_ai": 2, "report": 1, "gusts": 6, "fronts": 3, "squalls": 2}
EACH = {name: {*range(1, calls + 1)} for name, calls in CALLS.items()}
CUT = EACH if LONG_FORM else {"squalls": {1, 2}, "gusts": {6}}
LOOKS = "/tmp/looks"  # where tools write: the functions see a /tmp of their own
LEASE = {"CREWRELAY_LEASE_SECONDS": "5"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Beside what is built."""
    made = tmp_path_factory.mktemp("made")
    create(made, "latest_ai", "crew", "--classic")
    edit(create(made, "report", "crew") / "crew.jsonc", ('"memory": true', '"memory": false'))
    flow(made, "gusts", LOOKS)
    declared_flow(made, "fronts", LOOKS)
    crew_with_mcp(made, "squalls", LOOKS)
    folder = ROOT / ".aws-sam" / made.name
    shutil.copytree(made, folder)
    yield folder
    shutil.rmtree(folder)


class Functions(NamedTuple):
    """With the projects, whose models are this one."""

    run: Slot
    worker: Slot
    sweeper: Slot
    model: ScriptedModel


@pytest.fixture(scope="module")
def functions(deployment: Deployment, models: int, shelf: Path) -> Iterator[Functions]:
    with closing(ScriptedModel(models)) as model:
        own = {"OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_API_KEY": "none", "CREWRELAY_CREWS": str(shelf)}
        env = {**LEASE, **own, **model_variables(model)}
        yield Functions(
            deployment.slot("RunFunction", env),
            deployment.slot("WorkerFunction", env),
            deployment.slot("SweeperFunction", LEASE),
            model,
        )


@pytest.mark.parametrize(("name", "cut"), CUT.items(), ids=CUT)
def test_a_project_that_is_killed_in_mid_call_is_finished(
    deployment: Deployment, functions: Functions, name: str, cut: set[int]
) -> None:
    """First in the function of the request, then in the worker."""
    run, worker, sweeper, model = functions
    run.invoke({})  # its cold start is no part of what the gateway waits
    # Where one is to be killed, it is told nothing; the call is made again.
    statuses = [status for call in range(1, CALLS[name] + 1) for status in (["hang"] if call in cut else []) + ["200"]]
    model.script("--statuses", ",".join(statuses))
    event = deployment.rest("POST", "/crewai/run", {"crew": name, "inputs": INPUTS[name]})
    function, job_id = run, ""
    for repeated, call in enumerate(sorted(cut)):
        killed_in(function, event, lambda reached=call + repeated: model.calls() >= reached)  # type: ignore[misc]
        wait_until(lambda: sweeper.invoke(schedule()) == {"rung": 1}, within=60, every=0.5)
        (job_id,) = deployment.take("JobQueue")
        function, event = worker, sqs(job_id)
    assert worker.invoke(event) == {"batchItemFailures": []}
    job = deployment.status(job_id)
    assert job["status"] == "completed", job["error"]
    assert job["usage"]["calls"] == CALLS[name]
    assert model.calls() == CALLS[name] + len(cut)  # each once, and once more where it was cut


def killed_in(function: Slot, event: Any, reached: Callable[[], bool]) -> None:
    with ThreadPoolExecutor(1) as pool:
        invoked = pool.submit(function.invoke, event)
        wait_until(lambda: reached() or invoked.done(), within=180)
        assert not invoked.done(), invoked.result()
        function.kill()
        assert "killed" in invoked.result()["errorMessage"]
