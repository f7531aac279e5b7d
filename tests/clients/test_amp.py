"""Clients of CrewAI's platform run crews of ours unchanged."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.clients.matrix import Tell
from tests.clients.programs import started, told
from tests.support.models import ScriptedModel
from tests.support.processes import listening
from tests.support.stack import RunningStack, model_variables, running_stack
from tests.support.waiting import wait_until

ENVIRONMENT = ".venv-clients-crewai"
INPUTS = json.dumps({"topic": "neural networks", "language": "en"})
REVIEWED = {
    "crew": "description: Writes what a human accepts.\ninputs: {topic: {}}\n",
    "agents": "writer: {role: Writer, goal: Write., backstory: You write.}\n",
    "tasks": "writing: {description: 'Write of {topic}.', expected_output: Text., agent: writer, human_input: true}\n",
}


class Scripted(NamedTuple):
    stack: RunningStack
    model: ScriptedModel


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """The default one, which asks for a token."""
    with running_stack(1, "--auth") as stack:
        yield stack


def token_of(stack: RunningStack) -> str:
    return stack.client.headers["Authorization"].removeprefix("Bearer ")


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """A stack with a crew whose task a human reviews."""
    folder: Path = tmp_path_factory.mktemp("crews")
    config = folder / "reviewed/config"
    config.mkdir(parents=True)
    for name, text in REVIEWED.items():
        (config / f"{name}.yaml").write_text(text)
    with listening("tests.support.doubles.model_server") as port, closing(ScriptedModel(port)) as model:
        variables = {"CREWRELAY_CREWS": str(folder), **model_variables(model)}
        with running_stack(1, "--auth", **variables) as stack:
            yield Scripted(stack, model)


def test_crewai_tools_gets_a_crews_answer(stack: RunningStack, tell: Tell) -> None:
    with started(ENVIRONMENT, "crewai_tool", f"{stack.url}/amp/research", token_of(stack), INPUTS) as program:
        found = told(program)
    (job,) = stack.client.get("/crewai/jobs", params={"limit": 1}).json()["jobs"]
    assert job["status"] == "completed"
    assert found["result"] == stack.client.get(f"/crewai/status/{job['job_id']}").json()["result"]
    tell("crewai-tools (pip)", found["version"], "`InvokeCrewAIAutomationTool`: kickoff, status, result")


def test_crewai_tools_tells_its_agent_what_is_missing_and_what_failed(scripted: Scripted, tell: Tell) -> None:
    stack, token = scripted.stack, token_of(scripted.stack)
    with started(ENVIRONMENT, "crewai_tool", f"{stack.url}/amp/reviewed", token, '{"theme": "rain"}') as program:
        assert "'missing_inputs': ['topic']" in told(program)["result"]
    with started(ENVIRONMENT, "crewai_tool", f"{stack.url}/amp/reviewed", "crt_wrong", '{"topic": "rain"}') as program:
        assert "Failed to kickoff crew" in told(program)["result"]
    scripted.model.script("--statuses", "401", "--for-ever")
    with started(ENVIRONMENT, "crewai_tool", f"{stack.url}/amp/reviewed", token, '{"topic": "rain"}') as program:
        found = told(program)
    scripted.model.script()
    assert found["result"].startswith("Error: Crew task failed.")
    tell(
        "crewai-tools (pip)",
        found["version"],
        "missing inputs, a wrong token, a failed crew",
    )


def test_crewai_tools_waits_while_a_human_reviews(scripted: Scripted, tell: Tell) -> None:
    stack = scripted.stack
    scripted.model.script()
    base = f"{stack.url}/amp/reviewed"

    def waiting() -> dict[str, Any] | None:
        jobs = stack.client.get("/crewai/jobs", params={"status": "waiting"}).json()["jobs"]
        if not jobs:
            return None
        found: dict[str, Any] = stack.client.get(f"{base}/status/{jobs[0]['job_id']}").json()
        return found if found["status"] == "pending_human_input" else None

    def resume(asked: dict[str, Any], feedback: str, *, is_approve: bool) -> httpx.Response:
        body = {"execution_id": asked["kickoff_id"], "task_id": "writing"}
        return stack.client.post(f"{base}/resume", json=body | {"human_feedback": feedback, "is_approve": is_approve})

    with started(ENVIRONMENT, "crewai_tool", base, token_of(stack), '{"topic": "rain"}') as program:
        first = wait_until(waiting, within=60)
        assert (first["state"], first["current_task"]) == ("RUNNING", "writing")
        assert resume(first, "Shorter, please.", is_approve=False).json()["status"] == "retrying"
        second = wait_until(waiting, within=30)
        assert second["pending_human_input"]["task_id"] != first["pending_human_input"]["task_id"]
        assert resume(second, "Excellent, go on.", is_approve=True).json()["status"] == "resumed"
        found = told(program)
    assert found["result"].startswith("About nothing")
    assert scripted.model.calls() == 2  # the draft and the shorter one, not a third of what was excellent
    tell("crewai-tools (pip)", found["version"], "a human's feedback by `/resume`, twice")


def test_semantic_kernel_runs_a_crew(stack: RunningStack, tell: Tell) -> None:
    with started(ENVIRONMENT, "semantic_kernel_crew", f"{stack.url}/amp/research", token_of(stack), INPUTS) as program:
        found = told(program)
    assert found["first"] in ("PENDING", "RUNNING", "SUCCESS")
    assert found["result"] == found["of_the_kernel"]
    assert "[1]" in found["result"]
    tell(
        "semantic-kernel (pip)",
        found["version"],
        "`CrewAIEnterprise`: kickoff, status, wait, and as a function of a kernel",
    )
