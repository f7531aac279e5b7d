"""Clients of A2A run a crew of ours unchanged, and its compatibility kit finds what is known."""

import json
import os
import re
import subprocess
import xml.etree.ElementTree as Xml
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.matrix import Tell
from tests.support.processes import ROOT
from tests.support.stack import RunningStack, running_stack

HERE = ROOT / "tests/clients"
CREW = str(HERE / "a2a_crew")
SAID = "Hello from TCK"
KIT = os.environ.get("A2A_KIT", "")  # a checkout of a2aproject/a2a-tck, branch 1.0-dev, with its environment in .venv
# What the kit does not accept, and why we answer so.
KNOWN = {
    "test_agent_card_validates_against_schema": "the card is also that of 0.3, whose fields 1.0 lets clients ignore",
    "test_returns_message_with_text_part[jsonrpc]": "a crew's answer is always that of a task",
    "test_returns_message_with_text_part[http_json]": "a crew's answer is always that of a task",
    "test_must_requirement[CORE-SEND-003-jsonrpc]": "the kit takes the error that it asks for as a failure",
    "test_must_requirement[CORE-SEND-003-http_json]": "the kit takes the error that it asks for as a failure",
    "test_response_content_type": "the kit is older than the media type application/a2a+json",
}


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningStack]:
    with running_stack(1, "--auth", CREWRELAY_CREWS=CREW) as stack:
        yield stack


def told(environment: str, program: str, stack: RunningStack) -> dict[str, Any]:
    """What a program of foreign/ says last, in its client's environment."""
    token = stack.client.headers["Authorization"].removeprefix("Bearer ")
    python, script = str(ROOT / environment / "bin/python"), str(HERE / f"foreign/{program}.py")
    command = [python, script, f"{stack.url}/a2a/kit", token]
    quiet = {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "CREWAI_TESTING": "true"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=os.environ | quiet, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_sdk_of_1_0_runs_a_crew_by_both_bindings(agent: RunningStack, tell: Tell) -> None:
    found = told(".venv-clients", "a2a_sdk", agent)
    version = found.pop("version")
    for binding in ("JSONRPC", "HTTP+JSON"):
        assert found.pop(f"{binding} stream") == ["task", "status_update", SAID]
        assert found.pop(f"{binding} send") == ["task", "task", SAID]
        assert found.pop(f"{binding} tasks") == ["TASK_STATE_COMPLETED", "TASK_STATE_CANCELED", True]
    assert not found
    tell(
        "a2a-sdk (pip)", version, "A2A 1.0, JSON-RPC and HTTP+JSON: send, stream, answer a question, get, list, cancel"
    )


def test_the_sdk_of_0_3_runs_a_crew(agent: RunningStack, tell: Tell) -> None:
    found = told(".venv-clients-crewai", "a2a_sdk_0_3", agent)
    assert (found["stream"], found["send"]) == ([True, "completed", SAID], [False, "completed", SAID])
    assert found["states"] == ["input-required", "completed", "canceled"]
    tell("a2a-sdk 0.3 (pip)", found["version"], "A2A 0.3, JSON-RPC: send, stream, answer a question, cancel")


def test_crewais_agents_give_a_crew_their_task(agent: RunningStack, tell: Tell) -> None:
    found = told(".venv-clients-crewai", "crewai_a2a", agent)
    assert (found["stream"], found["poll"]) == (["completed", SAID], ["completed", SAID])
    tell("crewai (pip)", found["version"], "the client behind an agent's `a2a=`: with a stream, and polling")


@pytest.mark.skipif(not KIT, reason="A2A_KIT names no compatibility kit")
def test_the_compatibility_kit_finds_what_is_known(tell: Tell) -> None:
    report = Path(KIT) / "reports/junitreport.xml"
    report.unlink(missing_ok=True)
    with running_stack(1, CREWRELAY_CREWS=CREW) as stack:
        subprocess.run(
            [
                *(f"{KIT}/.venv/bin/python", "run_tck.py", "--sut-host", f"{stack.url}/a2a/kit"),
                *("--transport", "jsonrpc,http_json", "--level", "must", "--", "-p", "a2a_kit_plugin"),
            ],
            cwd=KIT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE / "foreign")},
            capture_output=True,
            check=False,
            timeout=400,
        )
    cases = list(Xml.parse(report).iter("testcase"))
    failed = {str(case.get("name")) for case in cases if case.find("failure") is not None}
    skipped = sum(case.find("skipped") is not None for case in cases)
    assert failed == set(KNOWN)
    assert len(cases) - len(failed) - skipped >= 135
    counts = f"{len(cases) - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped"
    version = re.findall(r'^version = "(.+)"', (Path(KIT) / "pyproject.toml").read_text(), re.MULTILINE)
    tell("a2a-tck", version[0], f"level MUST, both bindings: {counts}")
