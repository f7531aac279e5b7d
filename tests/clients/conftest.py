"""A real stack, and other platforms' clients as programs in environments of their own (`make clients`).

A program prints a line of JSON for each thing that it has done and checked: {"client", "version", "what"}. The
client is the package's name.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.clients.matrix import Ran, RunClient, Tell, write
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT, listening
from tests.support.stack import RunningStack, model_variables, running_stack

PYTHON = ROOT / ".venv-clients/bin/python"
_ROWS = pytest.StashKey[list[Ran]]()


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    """A job asks it three times, and takes three seconds or more."""
    with (
        listening("tests.support.doubles.model_server") as port,
        closing(ScriptedModel(port, "--delay", "1")) as model,
    ):
        yield model


@pytest.fixture(scope="session")
def stack(model: ScriptedModel) -> Iterator[RunningStack]:
    """It wants a token, which its `client` has. A request may wait for two seconds."""
    short = {"CREWRELAY_GATEWAY_LIMIT": "4", "CREWRELAY_GATEWAY_MARGIN": "2"}
    with running_stack(1, "--auth", **model_variables(model), **short) as stack:
        yield stack


@pytest.fixture
def run_client(stack: RunningStack, request: pytest.FixtureRequest) -> RunClient:
    """Runs a program of this folder, in Python or for Node, with URL and TOKEN of the stack; returns what it did."""

    def run(program: str, *arguments: str, python: Path = PYTHON) -> list[str]:
        interpreter = python if program.endswith(".py") else "node"
        token = stack.client.headers["Authorization"].removeprefix("Bearer ")
        variables = os.environ | {"URL": stack.url, "TOKEN": token, "PYTHONPATH": str(ROOT)}
        command = [interpreter, ROOT / "tests/clients" / program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=variables, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]
        registry = "pip" if program.endswith(".py") else "npm"
        rows = [Ran(f"{row['client']} ({registry})", row["version"], row["what"]) for row in said]
        request.config.stash[_ROWS].extend(rows)
        return [row.what for row in rows]

    return run


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Tells the table what a client did that is no program of this folder."""
    return lambda client, version, what: request.config.stash[_ROWS].append(Ran(client, version, what))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = []


def pytest_sessionfinish(session: Any, exitstatus: int) -> None:
    if exitstatus == 0 and (rows := session.config.stash[_ROWS]):
        write(rows)
