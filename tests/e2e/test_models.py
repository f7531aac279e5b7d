"""Any OpenAI-compatible server: its tool calls, its failures, its key."""

import subprocess
from contextlib import closing

import httpx

from tests.e2e.stacks import ScriptedStack
from tests.support.models import ScriptedModel
from tests.support.stack import COMMAND, RunningStack, environment, model_variables

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


def test_a_key_that_the_server_repeats_is_in_no_answer_no_row_and_no_log(models: int) -> None:
    with closing(ScriptedModel(models, "--statuses", "401", "--for-ever")) as model:
        variables = {**model_variables(model), "CREWRELAY_MODEL_API_KEY": KEY, "CREWRELAY_LOG_CONTENT": "true"}
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--crews", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**variables),
        )
        assert process.stdout
        stack = RunningStack.that_says(process, httpx.Client(timeout=40))
        with stack.client:
            failed = stack.client.post("/crewai/run", json=EXAMPLE)
            assert stack.data
            rows = b"".join(file.read_bytes() for file in stack.data.glob("jobs.db*"))
        process.terminate()
        said, errors = process.communicate(timeout=15)
    assert failed.status_code == 502
    assert failed.json()["error"]["type"] == "AuthenticationError"
    assert "scripted 401" in failed.json()["detail"]
    assert "scripted 401" in errors  # CrewAI logs it
    assert b"AuthenticationError" in rows
    for text in (failed.text, str(rows), said, errors):
        assert KEY not in text
