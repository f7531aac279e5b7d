"""The workflows of docs/n8n, executed by n8n against a stack that wants a token."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import httpx
import pytest

from tests.n8n.engine import Execution, N8n, running_n8n
from tests.support.doubles.receiver import OK, Receiver, read
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT, listening
from tests.support.stack import RunningStack, model_variables, running_stack
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    with listening("tests.support.doubles.model_server") as port, closing(ScriptedModel(port)) as model:
        yield model


@pytest.fixture(scope="module")
def stack(model: ScriptedModel) -> Iterator[RunningStack]:
    """A request may wait for two seconds."""
    short = {"CREWRELAY_GATEWAY_LIMIT": "4", "CREWRELAY_GATEWAY_MARGIN": "2"}
    crews = str(ROOT / "docs/crews")
    with running_stack(1, "--auth", CREWRELAY_CREWS=crews, **model_variables(model), **short) as stack:
        yield stack


@pytest.fixture(scope="module")
def n8n(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[N8n]:
    """It has the credential that the workflows name."""
    with running_n8n(tmp_path_factory.mktemp("n8n")) as n8n:
        header = {"name": "Authorization", "value": stack.client.headers["Authorization"]}
        n8n.bring("credentials", {"id": "crewrelay", "name": "crewrelay", "type": "httpHeaderAuth", "data": header})
        yield n8n


def workflow(file: str, stack: RunningStack) -> dict[str, Any]:
    """One of docs/n8n, with the URL of the stack in its settings."""
    found: dict[str, Any] = json.loads((ROOT / "docs/n8n" / file).read_text())
    [settings] = [node for node in found["nodes"] if node["name"] == "Settings"]
    [url] = [each for each in settings["parameters"]["assignments"]["assignments"] if each["name"] == "url"]
    url["value"] = stack.url
    return found


def execute(n8n: N8n, flow: dict[str, Any]) -> str:
    """Imports a workflow and executes it, until it has ended or is parked."""
    n8n.bring("workflow", flow)
    n8n.run("execute", f"--id={flow['id']}")
    return str(flow["id"])


def answered(execution: Execution) -> None:
    [answer] = execution.items("Answer")
    assert (answer["status"], bool(answer["answer"])) == ("completed", True), answer


@pytest.mark.parametrize("delay", ["0", "2"])  # done at once, and after the request
def test_a_run_is_waited_for(n8n: N8n, stack: RunningStack, model: ScriptedModel, delay: str) -> None:
    model.script("--delay", delay)
    flow = workflow("run.json", stack)
    execution = n8n.ended(execute(n8n, flow))
    answered(execution)
    assert delay == "0" or "Status" in execution.outputs
    model.script()


def test_a_submission_parks_the_workflow_until_the_job_ends(
    n8n: N8n, stack: RunningStack, model: ScriptedModel
) -> None:
    model.script("--delay", "3")  # three calls: it parks before
    execution = n8n.ended(execute(n8n, workflow("submit-and-wait.json", stack)))
    answered(execution)
    [message] = execution.items("Wait")
    assert (message["body"]["type"], message["headers"]["webhook-id"][:4]) == ("job.completed", "msg_")
    model.script()


def test_a_job_that_ends_before_the_workflow_is_parked_is_told_again(n8n: N8n, stack: RunningStack) -> None:
    """n8n refuses the first message, because a node before the Wait is held until then.

    Its source says 409 for an execution that runs. One that `n8n execute` began it answers with 500.
    """
    parks = threading.Event()

    def hold(connection: socket.socket, over: threading.Event) -> None:
        read(connection)
        while not (parks.is_set() or over.is_set()):
            parks.wait(0.1)
        connection.sendall(OK)

    with closing(Receiver(hold)) as gate:
        flow = held(workflow("submit-and-wait.json", stack), gate.url)
        started = threading.Thread(target=execute, args=(n8n, flow))
        started.start()
        try:
            wait_until(lambda: gate.connections, within=90)
            job_id = stack.client.get("/crewai/jobs?limit=1").json()["jobs"][0]["job_id"]
            assert wait_until(lambda: statuses(stack, job_id), within=60)[0] in (409, 500)
        finally:
            parks.set()
            started.join()
        execution = n8n.ended(flow["id"], within=90)
    answered(execution)
    assert statuses(stack, job_id)[-1] == 200


def held(flow: dict[str, Any], url: str) -> dict[str, Any]:
    """With a request between Submit and Wait."""
    request = {"method": "POST", "url": url, "sendBody": True, "specifyBody": "json", "jsonBody": "{}"}
    gate = {"id": "gate", "name": "Gate", "type": "n8n-nodes-base.httpRequest", "typeVersion": 4.2}
    flow["id"] += "Held"
    flow["nodes"].append(gate | {"position": [550, 0], "parameters": request | {"options": {}}})
    links = flow["connections"]
    links["Gate"] = links["Submit"]
    links["Submit"] = {"main": [[{"node": "Gate", "type": "main", "index": 0}]]}
    return flow


def statuses(stack: RunningStack, job_id: str) -> list[int | None]:
    """What was said to the messages of a job's webhook."""
    [webhook] = stack.client.get(f"/crewai/jobs/{job_id}/deliveries").json()["webhooks"]
    return [attempt["status"] for attempt in webhook["attempts"]]


def test_many_topics_are_one_request_and_each_has_its_result(n8n: N8n, stack: RunningStack) -> None:
    before = len(stack.jobs())
    execution = n8n.ended(execute(n8n, workflow("many-topics.json", stack)), within=120)
    results = execution.items("Answers")
    assert [(each["custom_id"], each["job"]["status"]) for each in results] == [(str(n), "completed") for n in range(3)]
    assert len(stack.jobs()) == before + 3


def test_a_human_reviews_until_they_are_content(n8n: N8n, stack: RunningStack) -> None:
    flow_id = execute(n8n, workflow("human-review.json", stack))
    for answers, feedback in enumerate(("Shorter, please.", "")):
        execution = wait_until(partial(asked, n8n, flow_id, answers), within=90, every=0.2)
        form = f"{n8n.url}/form-waiting/{execution.id}"
        assert "Is it good as it is?" in httpx.get(form, timeout=20).text
        httpx.post(form, files={"field-0": (None, feedback)}, timeout=20).raise_for_status()
    execution = n8n.ended(flow_id, within=90)
    answered(execution)
    assert [run[0]["status"] for run in execution.outputs["Status"]] == ["waiting", "waiting", "completed"]


def asked(n8n: N8n, flow_id: str, answers: int) -> Execution | None:
    """The execution, while it waits for the form after so many answers."""
    found = n8n.execution(flow_id)
    if (
        found
        and found.status == "waiting"
        and found.last == "Review"
        and answers == len(found.outputs.get("Resume", []))
    ):
        return found
    return None
