"""The built functions in containers, as SAM's own commands run them: `make sam-local`, where a Docker engine is.

SAM_SKIP_PULL_IMAGE=1 has them take the base image that is there.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from crewrelay.local.credentials import Credentials
from crewrelay.local.sam import CREDENTIALS, VARIABLES
from tests.support.aws import aws_client, exported
from tests.support.invocations import JOBS, LIFE, event, jobs
from tests.support.processes import ROOT
from tests.support.stack import free_port
from tests.support.waiting import wait_until

SAM = str(ROOT / ".venv-sam/bin/sam")
BUILT_FOR = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
FLAGS = ["--parameter-overrides", f"Architecture={BUILT_FOR}"]
BODY = {"topic": "neural networks", "language": "en"}


class House(NamedTuple):
    url: str
    token: str  # with its scheme, as a header bears it
    table: str


@pytest.fixture
def house() -> Iterator[House]:
    """An emulator that containers reach, with the variables written that lead there."""
    command = [sys.executable, "-m", "crewrelay.local.sam"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        assert process.stdout.readline().startswith("AWS is on"), f"it ended with {process.poll()}"
        header = process.stdout.readline().removeprefix("Authorization: ")
        variables = json.loads(VARIABLES.read_text())["Parameters"]
        yield House(variables["AWS_ENDPOINT_URL"], " ".join(header.split()[:2]), variables["CREWRELAY_TABLE"])
    finally:
        process.terminate()
        process.wait(15)
        process.stdout.close()


def environment() -> dict[str, str]:
    """Of a shell that has read the file of credentials."""
    return {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_EC2_METADATA_DISABLED": "true", **exported(CREDENTIALS)}


def invoke(function: str, path: Path) -> Any:
    """What the function answers to an event; what it logs is passed on."""
    command = [SAM, "local", "invoke", function, "--event", str(path), *FLAGS]
    done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def test_each_function_answers_its_event(house: House, tmp_path: Path) -> None:
    for invocation in LIFE:
        path = tmp_path / f"{invocation.event}.json"
        path.write_text(json.dumps(event(invocation.event)))
        if invocation.event == "authorize":
            path.write_text(json.dumps(with_token(event("authorize"), house.token)))
        answer = invoke(invocation.function, path)
        assert (invocation.event, invocation.read(answer)) == (invocation.event, invocation.told)
    keys = exported(CREDENTIALS)
    own = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    dynamodb = aws_client("dynamodb", house.url, own)
    assert jobs(dynamodb, house.table) == JOBS
    dynamodb.close()


def with_token(asked: dict[str, Any], token: str) -> dict[str, Any]:
    asked["headers"]["Authorization"] = token
    asked["multiValueHeaders"]["Authorization"] = [token]
    return asked


@pytest.fixture
def api(house: House) -> Iterator[httpx.Client]:
    port = free_port()
    command = [SAM, "local", "start-api", "--port", str(port), "--warm-containers", "LAZY", *FLAGS]
    process = subprocess.Popen(command, cwd=ROOT, env=environment())
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            wait_until(lambda: answers(client) or process.poll() is not None, within=120)
            assert process.poll() is None, "start-api ended; what it said stands above"
            yield client
    finally:
        process.terminate()  # it takes its containers with it
        process.wait(60)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def test_the_api_lets_a_token_in_and_nobody_else(house: House, api: httpx.Client) -> None:
    assert api.post("/crewai/run/async", json=BODY).status_code == 401
    header = {"Authorization": house.token}
    accepted = api.post("/crewai/run/async", json=BODY, headers=header)
    assert (accepted.status_code, accepted.json()["status"]) == (202, "pending")
    status = api.get(f"/crewai/status/{accepted.json()['job_id']}", headers=header)
    assert (status.status_code, status.json()["status"]) == (200, "pending")
    run = api.post("/crewai/run", json=BODY, headers=header)
    assert (run.status_code, run.json()["status"]) == (200, "completed")
