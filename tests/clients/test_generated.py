"""Clients that are generated from the served /openapi.json do a full cycle, and linters find nothing in it."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import matrix
from tests.clients.matrix import Tell
from tests.clients.programs import started, told
from tests.support.processes import ROOT
from tests.support.stack import RunningStack, running_stack

PYTHON = ROOT / ".venv-clients/bin"
NODE = ROOT / "tests/clients/node"
DID = "submit, wait, list, batch, results, events, calls, cancel, delete; typed errors"
EXPECTED = {
    "crews": ["research"],
    "repeated": True,
    "status": "completed",
    "inline": True,
    "calls": 4,
    "cancelled": "cancelled",
    "counts": 2,
    "results": ["SQLite", "rain"],
    "listed": 2,
    "errors": {
        "not cancelled": "job_finished",
        "unknown": "unknown_job",
        "invalid": "invalid_request",
        "another body": "idempotency_conflict",
    },
    "fields": ["topic", "language"],
    "deleted": 204,
}


def assert_full_cycle(did: dict[str, Any]) -> None:
    assert {name: did[name] for name in EXPECTED} == EXPECTED
    assert did["cited"] > 0
    assert (did["events"][0], did["events"][-1]) == ("submitted", "completed")


def of_node(*command: str, within: float = 120) -> str:
    """What a program of node's packages prints."""
    path = f"{NODE / 'node_modules/.bin'}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/"), "REDOCLY_TELEMETRY": "off", "CI": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=within, cwd=NODE / "generated", env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def node_version(package: str) -> str:
    version: str = json.loads((NODE / "node_modules" / package / "package.json").read_text())["version"]
    return version


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """The default one, which asks for a token."""
    with running_stack(1, "--auth") as stack:
        yield stack


@pytest.fixture
def document(stack: RunningStack, tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_text(stack.client.get("/openapi.json").raise_for_status().text)
    return path


def test_a_client_of_openapi_python_client(stack: RunningStack, tmp_path: Path, tell: Tell) -> None:
    address = f"{stack.url}/openapi.json"
    folder = tmp_path / "generated/crewrelay_client"
    folder.parent.mkdir()
    command = [str(PYTHON / "openapi-python-client"), "generate", "--url", address, "--meta", "none"]
    generated = subprocess.run(
        [*command, "--output-path", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": f"{PYTHON}:{os.environ['PATH']}"},
        check=False,
    )
    said = generated.stdout + generated.stderr
    assert generated.returncode == 0, said
    assert said.count("WARNING") == said.count("content_type application/jsonl") == 1, said  # their text is there
    token = stack.client.headers["Authorization"].removeprefix("Bearer ")
    with started(".venv-clients", "generated_client", stack.url, token, str(folder.parent)) as program:
        did = told(program)
    assert_full_cycle(did)
    tell("openapi-python-client (pip)", did["version"], DID)


def test_a_client_of_openapi_typescript(stack: RunningStack, document: Path, tell: Tell) -> None:
    of_node("openapi-typescript", str(document), "--output", "build/schema.d.ts", "--default-non-nullable", "false")
    of_node("tsc", "--project", ".")
    token = stack.client.headers["Authorization"].removeprefix("Bearer ")
    did = json.loads(of_node("node", "build/cycle.js", stack.url, token))
    assert_full_cycle(did)
    tell(
        "openapi-typescript (npm)",
        node_version("openapi-typescript"),
        "types of `/openapi.json`, checked by `tsc --strict`",
    )
    tell("openapi-fetch (npm)", node_version("openapi-fetch"), DID)


def test_the_pages_fetch_does_what_it_shows() -> None:
    (program,) = re.findall(r"```javascript\n(.*?)```", matrix.PAGE.read_text(), re.DOTALL)
    with running_stack(1) as stack:
        said = of_node("node", "--input-type=module", "--eval", program.replace("http://localhost:8000", stack.url))
    assert said.startswith("completed A neural network")


def test_redocly_finds_nothing_but_that_no_licence_is_named(document: Path) -> None:
    said = of_node("redocly", "lint", str(document), "--skip-rule", "info-license")
    assert "Your API description is valid" in said
    assert "warning" not in said.lower()
