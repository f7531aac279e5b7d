"""No secret, topic, prompt, passage or answer in anything that is logged: canaries through the real stack and handlers,
with every line on, on paths that succeed and paths that fail. And the lines that remain tell whose they are.
"""

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from crewrelay.jobs.access import new_text
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT
from tests.support.stack import COMMAND, RunningStack, children_running, environment, free_port, model_variables
from tests.support.waiting import wait_until

NAMES = ("topic", "input", "key", "idempotency", "body")
TOPIC, INPUT, KEY, IDEMPOTENCY, BODY = (f"canary-{name}-{uuid.uuid4()}" for name in NAMES)
BEARER = new_text(os.urandom)
CANARIES = (TOPIC, INPUT, KEY, IDEMPOTENCY, BODY, BEARER)
HEADERS = {"Authorization": f"Bearer {BEARER}", "X-Correlation-Id": "the-request"}
EVERYTHING = {"POWERTOOLS_LOG_LEVEL": "DEBUG", "POWERTOOLS_METRICS_DISABLED": "false"}

CREW = "description: Fails.\ninputs:\n  secret:\n    description: What nobody is to hear of\n"
AGENTS = "teller:\n  role: Teller\n  goal: Tell\n  backstory: You tell.\n  tools: [explode]\n"
TASKS = "tell:\n  description: |\n    Tell of it.\n    Topic: {secret}\n  expected_output: A tale.\n  agent: teller\n"
TOOLS = '''
import logging

def explode(query: str) -> str:
    """Logs and raises what it was asked."""
    logging.getLogger("some.library").error("asked: %s", query)
    raise RuntimeError(f"no {query}")
'''


class Heard(NamedTuple):
    """What a stack has written to its terminal, what it has answered to whom the job was not, and the variables of its
    emulator.
    """

    output: str
    problems: list[str]
    passages: list[str]
    emulator: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def heard(models: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    crew = tmp_path_factory.mktemp("crews") / "fragile"
    (crew / "config").mkdir(parents=True)
    for name, text in (("config/crew.yaml", CREW), ("config/agents.yaml", AGENTS), ("config/tasks.yaml", TASKS)):
        (crew / name).write_text(text)
    (crew / "tools.py").write_text(TOOLS)
    with closing(ScriptedModel(models)) as model, tempfile.TemporaryFile("w+") as output:
        variables = {**model_variables(model), **EVERYTHING, "CREWRELAY_MODEL_API_KEY": KEY}
        process = subprocess.Popen(
            [*COMMAND, "serve", "--aws", "--port", "0", "--crews", "1"],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=environment(**variables, CREWRELAY_CREWS=str(crew.parent), CREWRELAY_MAX_ATTEMPTS="1"),
        )
        try:
            with httpx.Client(timeout=40, headers=HEADERS) as client:
                stack = RunningStack.that_says(process, client)
                problems, passages = _provoke(stack, model)
                (pid,) = children_running(process.pid, "crewrelay.local.emulator")
                emulator = Path(f"/proc/{pid}/environ").read_text()
                assert stack.aws_variables["AWS_ACCESS_KEY_ID"] in emulator
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=15)
        output.seek(0)
        yield Heard(said + output.read(), problems, passages, emulator)


def _provoke(stack: RunningStack, model: ScriptedModel) -> tuple[list[str], list[str]]:
    """The error bodies, and the passages of the job that went well."""
    client, example = stack.client, {"topic": f"neural networks {TOPIC}", "language": "en"}
    keyed = {"Idempotency-Key": IDEMPOTENCY}
    well = client.post("/crewai/run", json=example, headers=keyed)
    assert well.status_code == 200, well.text
    passages = [source["text"] for source in well.json()["sources"]]
    assert passages
    model.script()
    own = client.post("/crewai/run", json={"crew": "fragile", "inputs": {"secret": INPUT}})
    assert own.status_code == 200, own.text  # the model is told what the tool raised
    answers = []
    for script in ("401", "400", "503", "truncated", "nothing"):
        model.script("--statuses", script, "--for-ever")
        failed = client.post("/crewai/run", json=example)
        away = script in ("503", "truncated")  # an outage is waited for
        assert failed.status_code == (202 if away else 502), (script, failed.text)
        assert KEY not in failed.text
        if away:
            ended = client.post(f"/crewai/jobs/{failed.json()['job_id']}/cancel")
            assert KEY not in ended.text
    refused = client.post("/crewai/run/async", json={**example, "topic": "else"}, headers=keyed)
    answers.append(refused)
    answers.append(client.post("/crewai/run/async", json={"topic": "x" * 3000 + BODY, "language": BODY}))
    answers.append(
        client.post("/crewai/run", content=f'{{"topic": "{BODY}"', headers={"Content-Type": "application/json"})
    )
    answers.append(client.post("/crewai/run/async", json=[BODY]))
    queue = stack.resource("IntakeQueue")
    for body in (BODY, json.dumps({"topic": TOPIC, "language": BODY}), json.dumps({"topic": TOPIC, "language": "de"})):
        stack.aws("sqs").send_message(QueueUrl=queue, MessageBody=body)
    stack.aws("sqs").send_message(QueueUrl=stack.resource("JobQueue"), MessageBody=BODY)
    wait_until(lambda: len(stack.jobs()) == 8 and not {"pending", "running"} & {*stack.jobs().values()}, within=30)
    assert all(answer.status_code >= 400 for answer in answers)
    return [answer.text for answer in answers], passages


@pytest.mark.parametrize("canary", CANARIES, ids=(*NAMES, "bearer"))
def test_no_canary_is_in_any_line(heard: Heard, canary: str) -> None:
    assert [line for line in heard.output.splitlines() if canary in line] == []


def test_no_passage_and_no_reply_of_the_model_is_in_any_line(heard: Heard) -> None:
    for text in (*(passage[:40] for passage in heard.passages), "one fact [1]", "an invented one"):
        assert text not in heard.output


@pytest.mark.parametrize("canary", CANARIES, ids=(*NAMES, "bearer"))
def test_no_canary_is_in_an_error(heard: Heard, canary: str) -> None:
    assert [body for body in heard.problems if canary in body] == []


def test_the_emulator_is_not_told_the_key(heard: Heard) -> None:
    assert KEY not in heard.emulator


def test_what_went_wrong_is_told_all_the_same(heard: Heard) -> None:
    failures = [line["message"] for line in heard.lines if line.get("message", "").startswith("the crew failed")]
    assert "the crew failed: AuthenticationError" in failures
    assert [line for line in heard.lines if line.get("message") == "refused: invalid_request"]


def test_every_line_is_json_and_those_of_a_job_have_the_id_of_its_request(heard: Heard) -> None:
    others = [line for line in heard.output.splitlines() if not line.startswith(("{", "crewrelay is ready"))]
    assert others == []
    steps = [line for line in heard.lines if line.get("message") in ("job accepted", "job claimed", "job completed")]
    assert len(steps) > 9
    for line in steps:
        assert line["job_id"]
        assert line["tenant"] == "local"
        assert line["correlation_id"]
    inline = [line for line in heard.lines if line.get("correlation_id") == "the-request"]
    assert {"job accepted", "job claimed", "job completed", "job failed"} <= {line.get("message") for line in inline}


def test_each_job_is_counted_once_and_each_paid_call(heard: Heard) -> None:
    def total(name: str) -> float:
        return sum(sum(line[name]) for line in heard.lines if "_aws" in line and name in line)

    assert total("JobsAccepted") == 8
    assert total("JobsCompleted") == 2
    assert (total("JobsFailed"), total("JobsCancelled")) == (4, 2)
    assert total("Calls") >= 3
    assert len([line for line in heard.lines if "RunTime" in line]) == 8


_BROKEN = """
import importlib, json, sys
from crewrelay.local.event_sources import Context
event, function = json.load(sys.stdin), sys.argv[1]
try:
    answer = importlib.import_module(f"{function}.handler").handler(event, Context(function, 60))
except Exception as error:
    answer = {"raised": type(error).__name__}
sys.stderr.write(json.dumps(answer))
"""


@pytest.mark.parametrize("function", ["api", "authorizer", "intake", "sweeper"])
def test_no_canary_is_told_by_a_function_whose_table_is_away(function: str, tmp_path: Path) -> None:
    body = json.dumps({"topic": TOPIC, "language": "en"})
    record = {"messageId": "m-1", "eventSource": "aws:sqs", "body": body}
    request = {
        "resource": "/{proxy+}",
        "path": "/crewai/run/async",
        "httpMethod": "POST",
        "headers": {"content-type": "application/json", "idempotency-key": IDEMPOTENCY, **HEADERS},
        "multiValueHeaders": None,
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {
            "path": "/prod/crewai/run/async",
            "identity": {"sourceIp": "127.0.0.1"},
            "authorizer": {"tenant": "acme", "scopes": "run"},
        },
        "methodArn": "arn:aws:execute-api:us-east-1:123456789012:1234567890/prod/POST/crewai/run/async",
        "body": body,
        "isBase64Encoded": False,
    }
    away = f"http://127.0.0.1:{free_port()}"
    variables = {
        "AWS_ENDPOINT_URL": away,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        **{
            f"CREWRELAY_{name}": f"{away}/x"
            for name in ("TABLE", "BUCKET", "QUEUE_URL", "INTAKE_QUEUE_URL", "INTAKE_DLQ_URL", "NOTIFY_QUEUE_URL")
        },
    }
    done = subprocess.run(
        [sys.executable, "-c", _BROKEN, function],
        input=json.dumps(request if function in ("api", "authorizer") else {"Records": [record]}),
        cwd=ROOT,
        env=environment(**EVERYTHING, **variables),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stderr)
    assert answer.get("statusCode") == 503 or answer.get("batchItemFailures") or answer["raised"] == "Unavailable"
    for canary in CANARIES:
        assert canary not in done.stdout + done.stderr
    if function in ("api", "intake"):  # what the others raise, Lambda's runtime logs
        (line,) = [json.loads(line) for line in done.stdout.splitlines()]
        assert line["exception_name"] == "Unavailable"
        assert line["request_id"]
