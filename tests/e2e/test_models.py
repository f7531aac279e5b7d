"""Any OpenAI-compatible server: its tool calls, its failures, its key."""

import subprocess

import httpx

from tests.e2e.stacks import ScriptedStack
from tests.support.processes import listening
from tests.support.stack import COMMAND, RunningStack, children_running, environment, model_variables, running_stack
from tests.support.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}
KEY = "a-key-that-nobody-may-see"


def test_native_tool_calls_search_and_the_answer_cites_what_was_found(scripted: ScriptedStack) -> None:
    stack, model = scripted
    model.script()
    body = stack.client.post("/crewai/run", json=EXAMPLE).json()
    assert body["answer"] == "About neural networks: one fact [1], another [2], an invented one."
    assert [source["number"] for source in body["sources"]] == [1, 2]
    assert all("neural" in source["text"].lower() for source in body["sources"])
    used = {"model": "openai/scripted", "calls": 3, "prompt_tokens": 30, "completion_tokens": 15, "cost_usd": None}
    assert body["usage"] == used | {"by_model": [used]}


def test_a_server_that_wants_no_key_needs_none(scripted: ScriptedStack) -> None:
    stack, model = scripted
    model.script()
    assert stack.client.post("/crewai/run", json=EXAMPLE).status_code == 200
    assert model.calls_by("caller").keys() == {"none"}


def test_a_key_that_the_server_repeats_is_in_no_answer_no_row_no_log_and_not_with_the_emulator() -> None:
    with listening("tests.support.doubles.model_server", "--statuses", "401", "--for-ever") as model:
        variables = {**model_variables(model), "CREWRELAY_MODEL_API_KEY": KEY, "CREWRELAY_LOG_CONTENT": "true"}
        process = subprocess.Popen(
            [*COMMAND, "serve", "--aws", "--port", "0", "--crews", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**variables),
        )
        assert process.stdout
        stack = RunningStack.that_says(process, httpx.Client(timeout=40))
        with stack.client:
            failed = stack.client.post("/crewai/run", json=EXAMPLE)
            table = stack.resource("JobsTable")
            rows = stack.aws("dynamodb").scan(TableName=table)["Items"]
            (emulator,) = children_running(process.pid, "crewrelay.local.emulator")
            variables_of_emulator = subprocess.run(["ps", "eww", str(emulator)], capture_output=True, text=True).stdout
        process.terminate()
        said, errors = process.communicate(timeout=15)
    assert failed.status_code == 502
    assert failed.json()["error"]["type"] == "AuthenticationError"
    assert "scripted 401" in failed.json()["detail"]
    assert "scripted 401" in errors  # CrewAI logs it
    assert stack.aws_variables["AWS_ACCESS_KEY_ID"] in variables_of_emulator
    for text in (failed.text, str(rows), said, errors, variables_of_emulator):
        assert KEY not in text


def test_a_server_that_is_not_there_is_waited_for_and_the_status_says_why() -> None:
    impatient = {"CREWRELAY_MAX_ATTEMPTS": "2", "CREWRELAY_BACKOFF_SECONDS": "0.2"}
    with running_stack(**model_variables(9), **impatient) as stack:  # discard: nobody listens
        accepted = stack.client.post("/crewai/run", json=EXAMPLE)
        assert accepted.status_code == 202
        where = accepted.headers["Location"]
        # An outage is no attempt: it goes on past the two that a job has.
        job = wait_until(lambda: (got := stack.client.get(where).json())["attempts"] > 2 and got, within=30)
    assert job["status"] in ("pending", "running")
    assert job["error"]["retryable"] is True
    assert "did not answer" in job["error"]["message"]
