"""The built functions as AWS runs them: under its Runtime Interface Emulator and its runtime client, with a closed
network and a read-only disk. They are driven with the events that AWS sends.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.e2e.runtime.artifacts import FUNCTIONS
from tests.e2e.runtime.deployment import TENANT, Deployment, answered
from tests.e2e.runtime.events import authorization, rest, schedule, sqs
from tests.e2e.runtime.slot import Slot, disk_can_be_closed, emulator_binary
from tests.support import sandbox
from tests.support.models import ScriptedModel
from tests.support.stack import model_variables
from tests.support.waiting import wait_until

REQUEST = {"topic": "neural networks", "language": "en"}
QUICK = {"CREWRELAY_LEASE_SECONDS": "5"}


@pytest.fixture(scope="module")
def model(models: int) -> Iterator[ScriptedModel]:
    """For which each test writes the script. A function that asks it can be shared: it starts in seconds of CPU."""
    with closing(ScriptedModel(models)) as model:
        yield model


def paid_calls(model: ScriptedModel) -> list[dict[str, Any]]:
    """Calls that were answered to somebody who still waited."""
    return [call for call in model.log() if call["status"] == "200" and not call["cut"]]


@pytest.fixture(scope="module")
def brief_worker(deployment: Deployment, model: ScriptedModel) -> Slot:
    """It has 3 s beyond what giving back may take."""
    worker = deployment.slot("WorkerFunction", {**QUICK, **model_variables(model)}, timeout=33)
    warm_up(worker)
    return worker


def work_off(deployment: Deployment, worker: Slot, job_id: str) -> dict[str, Any]:
    """The job, once the worker has relayed it to itself often enough."""
    while (job := deployment.status(job_id))["status"] == "pending":
        assert wait_until(lambda: deployment.take("JobQueue"), within=20) == [job_id]
        assert worker.invoke(sqs(job_id)) == {"batchItemFailures": []}
    assert job["status"] == "completed", job["error"]
    return job


def warm_up(slot: Slot) -> None:
    """The emulator counts a cold start as part of the invocation, Lambda doesn't: until one has fit its timeout."""
    wait_until(lambda: "Task timed out" not in slot.invoke({"Records": []}).get("errorMessage", ""), within=60)


# ---- where they run


def test_no_address_but_loopback_can_be_reached() -> None:
    if not sandbox.network_is_closed():
        pytest.skip("the network is open: run by `make runtime`, where namespaces are allowed")
    with pytest.raises(OSError, match="unreachable"):
        socket.create_connection(("192.0.2.1", 443), timeout=5)


def test_nothing_but_tmp_takes_writes() -> None:
    if not disk_can_be_closed():
        pytest.skip("namespaces are refused here: only what is built is watched for writes")
    tree = FUNCTIONS["ApiFunction"].tree
    enclosed = [sys.executable, sandbox.__file__, "disk", str(tree), str(tree), str(emulator_binary())]
    for folder, refused in {"/tmp": False, "/var/task": True, "/var": True, "/root": True, "/home": True}.items():
        tried = subprocess.run([*enclosed, "touch", f"{folder}/file"], capture_output=True, text=True, check=False)
        assert ("Read-only file system" in tried.stderr) is refused, folder
        assert bool(tried.returncode) is refused, folder


# ---- jobs


def test_a_sweep_of_nothing_is_nothing(deployment: Deployment) -> None:
    """First of all: what other tests leave behind is overdue sooner or later."""
    assert deployment.invoke("SweeperFunction", schedule()) == {}


def test_a_job_is_submitted_run_by_the_worker_and_fetched(deployment: Deployment) -> None:
    accepted = answered(deployment.invoke("ApiFunction", deployment.rest("POST", "/crewai/run/async", REQUEST)), 202)
    assert deployment.status(accepted["job_id"])["status"] == "pending"
    bells = deployment.take("JobQueue")
    assert bells == [accepted["job_id"]]
    assert deployment.invoke("WorkerFunction", sqs(bells[0])) == {"batchItemFailures": []}
    job = deployment.status(accepted["job_id"])
    assert job["status"] == "completed"
    assert job["sources"]


def test_a_run_that_fits_the_request_is_its_response(deployment: Deployment) -> None:
    run = answered(deployment.invoke("RunFunction", deployment.rest("POST", "/crewai/run", REQUEST)), 200)
    assert run["status"] == "completed"
    assert run["sources"]
    assert deployment.take("JobQueue") == []


def test_a_run_that_does_not_is_relayed_from_timeout_to_timeout(
    deployment: Deployment, model: ScriptedModel, brief_worker: Slot
) -> None:
    """Both functions have time for one of the crew's three calls."""
    model.script("--delay", "1.5")
    run = deployment.slot("RunFunction", {"CREWRELAY_GATEWAY_LIMIT": "5", **model_variables(model)})
    warm_up(run)
    job_id = answered(run.invoke(deployment.rest("POST", "/crewai/run", REQUEST)), 202)["job_id"]
    job = work_off(deployment, brief_worker, job_id)
    assert job["receipt"]["relays"] >= 2
    asked = [call["digest"] for call in paid_calls(model)]
    assert len(asked) == len(set(asked)) == 3


def test_a_run_killed_at_its_timeout_is_found_by_the_sweeper_and_finished(
    deployment: Deployment, model: ScriptedModel, brief_worker: Slot
) -> None:
    """The second call is never answered, and the function is given less time than the gateway waits."""
    model.script("--statuses", "200,hang")
    run = deployment.slot("RunFunction", {**QUICK, **model_variables(model)}, timeout=12)
    warm_up(run)
    killed = run.invoke(deployment.rest("POST", "/crewai/run", REQUEST, **{"Idempotency-Key": "killed"}))
    assert "Task timed out after 12.00 seconds" in killed["errorMessage"]
    assert deployment.take("JobQueue") == []
    sweeper = deployment.slot("SweeperFunction", QUICK)
    wait_until(lambda: sweeper.invoke(schedule()) == {"rung": 1}, within=40, every=0.5)
    (job_id,) = deployment.take("JobQueue")
    assert brief_worker.invoke(sqs(job_id)) == {"batchItemFailures": []}
    job = work_off(deployment, brief_worker, job_id)
    assert job["receipt"]["calls_replayed"] >= 1
    assert len(paid_calls(model)) == job["usage"]["calls"] == 3
    repeated = deployment.rest("POST", "/crewai/run", REQUEST, **{"Idempotency-Key": "killed"})
    assert answered(deployment.invoke("RunFunction", repeated), 200)["job_id"] == job_id


def test_a_message_of_another_system_becomes_a_job(deployment: Deployment) -> None:
    assert deployment.invoke("IntakeFunction", sqs(json.dumps(REQUEST))) == {"batchItemFailures": []}
    (job_id,) = deployment.take("JobQueue")
    assert deployment.status(job_id)["status"] == "pending"


# ---- who calls


def test_the_authorizer_knows_a_token_and_refuses_another(deployment: Deployment) -> None:
    known = deployment.invoke("AuthorizerFunction", authorization(f"Bearer {deployment.token}"))
    assert known["context"]["tenant"] == TENANT
    for token in ("", "Bearer crt_nonsense", f"Bearer {deployment.token}0"):
        assert deployment.invoke("AuthorizerFunction", authorization(token))["errorMessage"] == "Unauthorized"


@pytest.mark.parametrize(("function", "path"), [("ApiFunction", "/crewai/run/async"), ("RunFunction", "/crewai/run")])
def test_a_function_reached_past_the_authorizer_lets_nobody_in(
    deployment: Deployment, function: str, path: str
) -> None:
    assert answered(deployment.invoke(function, rest("POST", path, REQUEST)), 401)["remedy"]
    assert deployment.take("JobQueue") == []


# ---- what is no event of theirs


@pytest.mark.parametrize("function", ["ApiFunction", "RunFunction"])
@pytest.mark.parametrize(
    ("body", "code"), [("", 400), ("{", 400), ('{"topic": 5}', 422), ('{"topic": "t", "language": "english"}', 422)]
)
def test_a_bad_body_is_refused_with_what_to_do(deployment: Deployment, function: str, body: str, code: int) -> None:
    path = "/crewai/run" if function == "RunFunction" else "/crewai/run/async"
    answer = deployment.invoke(function, deployment.rest("POST", path, body))
    assert answered(answer, code)["remedy"]
    assert answer["headers"]["content-type"] == "application/problem+json"


def test_an_unknown_path_and_an_unknown_job_are_not_found(deployment: Deployment) -> None:
    for path in ("/nothing", "/crewai/status/nothing"):
        assert answered(deployment.invoke("ApiFunction", deployment.rest("GET", path)), 404)["remedy"]


@pytest.mark.parametrize(("function", "queue"), [("WorkerFunction", "Job"), ("IntakeFunction", "Intake")])
def test_a_message_that_breaks_the_rules_goes_to_the_dead_letters(
    deployment: Deployment, function: str, queue: str
) -> None:
    assert deployment.invoke(function, sqs("no such thing")) == {"batchItemFailures": []}
    assert deployment.take(f"{queue}DeadLetterQueue") == ["no such thing"]


@pytest.mark.parametrize("function", ["WorkerFunction", "IntakeFunction"])
@pytest.mark.parametrize("event", [{}, {"Records": [{"eventSource": "aws:s3"}]}])
def test_another_event_is_refused_and_the_function_lives_on(
    deployment: Deployment, function: str, event: dict[str, Any]
) -> None:
    assert deployment.invoke(function, event)["errorType"] == "ValueError"
    assert deployment.invoke(function, {"Records": []}) == {"batchItemFailures": []}
