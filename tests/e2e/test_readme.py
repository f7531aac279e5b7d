"""The commands of the README, docs/http.md and docs/clients.md, run as they stand."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.stacks import ScriptedStack
from tests.support.processes import ROOT
from tests.support.stack import RunningStack, environment
from tests.support.waiting import wait_until

README = (ROOT / "README.md").read_text()
HTTP = (ROOT / "docs/http.md").read_text()
CLIENTS = (ROOT / "docs/clients.md").read_text()


def curl(command: str, stack: RunningStack, **variables: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said(command, stack, **variables) or "{}")
    return answer


def said(command: str, stack: RunningStack, **variables: str) -> str:
    command = command.replace("http://localhost:8000", stack.url).replace("curl ", "curl --silent ")
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, env={**os.environ, **variables})
    return done.stdout.decode()


def blocks(kind: str, page: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)


BLOCKS = blocks("bash", HTTP)


def test_the_page_has_every_call_and_an_error() -> None:
    assert len(BLOCKS) == 14


def test_the_readmes_call_and_answer_are_the_pages_first() -> None:
    """So that they are run with them."""
    assert blocks("bash", README) == BLOCKS[:1]
    assert blocks("json", README) == blocks("json", HTTP)[:1]


def test_the_readme_fits_a_screen_and_a_half() -> None:
    assert len(README.splitlines()) <= 130


def test_the_calls_answer_as_they_are_shown_to(stack: RunningStack) -> None:
    shown = [json.loads(block) for block in blocks("json", HTTP) if "5d0c…" not in block]  # but what waits
    sync, submit, status, wait, events, stream, jobs, calls, _, _, _, refused, batch, _ = BLOCKS
    answers = [curl(sync, stack), curl(submit, stack)]
    job_id = answers[1]["job_id"]
    wait_until(lambda: curl(status, stack, JOB_ID=job_id)["status"] == "completed", within=20)
    assert curl(wait, stack, JOB_ID=job_id)["status"] == "completed"
    answers += [curl(block, stack, JOB_ID=job_id) for block in (status, events, jobs, calls, refused, batch)]
    for answer, example in zip(answers, shown, strict=True):
        assert_same_shape(answer, example)
    assert answers[6] == shown[6]
    assert "\nevent: completed\n" in said(stream, stack, JOB_ID=job_id)


def test_the_clients_page_does_what_it_shows(stack: RunningStack) -> None:
    plain, _, rest = CLIENTS.partition("## CrewAI's platform")
    platform = rest.partition("\n## ")[0]
    kickoff, status = blocks("bash", platform)
    variables = {"KICKOFF_ID": curl(kickoff, stack)["kickoff_id"]}
    done = wait_until(lambda: (got := curl(status, stack, **variables))["state"] == "SUCCESS" and got, within=20)
    assert_same_shape(done, json.loads(blocks("json", platform)[0]))
    (program,) = blocks("python", plain)
    program = program.replace("http://localhost:8000", stack.url)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("completed A neural network")


def test_an_agent_of_a2a_answers_as_it_is_shown(stack: RunningStack) -> None:
    (message,) = blocks("bash", CLIENTS.partition("## A2A")[2].partition("\n## ")[0])
    assert curl(message, stack)["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


def test_a_file_of_lines_is_sent_as_it_is_shown(stack: RunningStack) -> None:
    batch = curl(BLOCKS[-1], stack)
    told = wait_until(
        lambda: (got := stack.client.get(batch["batch_url"]).json())["finished"] and got, within=40, every=0.2
    )
    assert (told["state"], told["counts"]["completed"]) == ("submitted", 2)
    results = [json.loads(line) for line in stack.client.get(batch["results_url"]).text.splitlines()]
    assert [one["custom_id"] for one in results] == ["nn", "1"]


def test_a_job_can_be_cancelled_and_a_failed_one_tried_again_as_it_is_shown(scripted: ScriptedStack) -> None:
    _, submit, status, *_, cancel, retry, delete = BLOCKS[:11]
    stack, model = scripted
    model.script("--delay", "1", "--statuses", "401", "--for-ever")
    cancelled = curl(cancel, stack, JOB_ID=curl(submit, stack)["job_id"])
    assert cancelled["status"] == "cancelled"
    assert curl(delete, stack, JOB_ID=cancelled["job_id"]) == {}
    assert curl(status, stack, JOB_ID=cancelled["job_id"])["type"] == "urn:crewrelay:problem:unknown_job"
    job_id = curl(submit, stack)["job_id"]
    failed = wait_until(lambda: (got := curl(status, stack, JOB_ID=job_id))["status"] == "failed" and got, within=20)
    assert "CREWRELAY_MODEL_API_KEY" in failed["error"]["message"]
    assert curl(retry, stack, JOB_ID=job_id)["status"] == "pending"


SEND = """
import boto3
stack = boto3.client("cloudformation").describe_stack_resource(StackName="crewrelay", LogicalResourceId="IntakeQueue")
queue = stack["StackResourceDetail"]["PhysicalResourceId"]
boto3.client("sqs").send_message(QueueUrl=queue, MessageBody='{"topic": "rain", "language": "en"}')
"""


def test_a_batch_is_sent_with_the_credentials_in_the_file_that_the_stack_names(scripted: ScriptedStack) -> None:
    assert "`source` it" in HTTP
    stack, model = scripted
    model.script()
    before = stack.jobs().keys()
    command = ["bash", "-c", f"source {stack.aws_file} && exec {sys.executable} -"]
    subprocess.run(command, input=SEND, text=True, check=True, env=environment())
    wait_until(lambda: stack.jobs().keys() - before, within=20)


@pytest.mark.parametrize("engine", ["hasty", "scripted"])
def test_what_the_stack_writes_is_for_its_owner_alone(request: pytest.FixtureRequest, engine: str) -> None:
    stack, model = request.getfixturevalue(engine)
    model.script()
    stack.client.post("/crewai/run", json={"topic": "rain", "language": "en"}).raise_for_status()
    folder = stack.data or (stack.aws_file and stack.aws_file.parent)
    assert folder
    assert {
        path.name: oct(path.stat().st_mode) for path in [folder, *folder.rglob("*")] if path.stat().st_mode & 0o77
    } == {}


@pytest.mark.parametrize("target", ["run", "test", "serve", "help"])
def test_the_makefile_has_the_readmes_targets(target: str) -> None:
    assert f"make {target}" in README
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def assert_same_shape(answer: Any, example: Any) -> None:
    if isinstance(example, dict):
        assert set(answer) == set(example)
        for key, value in example.items():
            assert_same_shape(answer[key], value)
    elif isinstance(example, list):
        assert bool(answer) == bool(example)
        for one in answer[:1]:
            assert_same_shape(one, example[0])
    else:
        assert type(answer) is type(example)
