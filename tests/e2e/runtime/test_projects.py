"""Projects of `crewai create` in the image's functions: killed in mid-call, found by the sweeper, and finished.

`FAULTS=long` takes a second form of them.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.runtime.deployment import Deployment
from tests.e2e.runtime.events import schedule, sqs
from tests.e2e.runtime.slot import Slot
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT
from tests.support.projects import create, flow
from tests.support.stack import model_variables
from tests.support.waiting import wait_until

INPUTS: dict[str, dict[str, Any]] = {
    "latest_ai": {"topic": "rain", "current_year": "2026"},
    "gusts": {"topic": "rain", "readers": [{"name": "Ann", "age": 40}]},
}
LONG_FORM = os.environ.get("FAULTS") == "long"
CALLS = {"latest_ai": 2, "gusts": 6}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Beside what is built: the functions see a /tmp of their own."""
    made = tmp_path_factory.mktemp("made")
    create(made, "latest_ai", "crew", "--classic")
    flow(made, "gusts", looks="/tmp/looks")
    folder = ROOT / ".aws-sam" / made.name
    shutil.copytree(made, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", INPUTS if LONG_FORM else ["gusts"])
def test_a_project_that_is_killed_in_mid_call_is_finished(
    deployment: Deployment, models: int, shelf: Path, name: str
) -> None:
    calls = CALLS[name]
    with closing(ScriptedModel(models, "--statuses", ",".join(["200"] * (calls - 1) + ["hang", "200"]))) as model:
        env = {
            "CREWRELAY_CREWS": str(shelf),
            "CREWRELAY_LEASE_SECONDS": "5",
            "OPENAI_BASE_URL": f"{model.url}/v1",
            "OPENAI_API_KEY": "none",
            **model_variables(model),
        }
        run = deployment.slot("RunFunction", env, timeout=12)  # less than the gateway waits
        warm_up(run)
        request = deployment.rest("POST", "/crewai/run", {"crew": name, "inputs": INPUTS[name]})
        assert "Task timed out" in run.invoke(request)["errorMessage"]
        assert model.calls() == calls
        sweeper = deployment.slot("SweeperFunction", {"CREWRELAY_LEASE_SECONDS": "5"})
        wait_until(lambda: sweeper.invoke(schedule()) == {"rung": 1}, within=40, every=0.5)
        (job_id,) = deployment.take("JobQueue")
        worker = deployment.slot("WorkerFunction", env)
        assert worker.invoke(sqs(job_id)) == {"batchItemFailures": []}
        job = deployment.status(job_id)
        assert job["status"] == "completed", job["error"]
        assert job["usage"]["calls"] == calls
        assert model.calls() == calls + 1  # the one that was cut, once more


def warm_up(slot: Slot) -> None:
    """Its cold start may take longer than its timeout, and is no part of it on AWS."""
    wait_until(lambda: "Task timed out" not in slot.invoke({}).get("errorMessage", ""), within=60)
