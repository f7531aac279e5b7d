"""A project of `crewai create`, unchanged, on the real stack, whose crew process is killed in mid-call.

On SQLite each form is: the longest in its first, its middle and its last call, the one with an MCP server in both of
its calls, the others in their last; on AWS the classic one is, in both of its calls. `FAULTS=long` kills every form in
each of its calls, on both engines.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.models import ScriptedModel
from tests.support.projects import create, crew_with_mcp, declared_flow, flow, looks_of
from tests.support.stack import RunningStack, model_variables, running_stack
from tests.support.waiting import wait_until

LONG_FORM = os.environ.get("FAULTS") == "long"
# Their model calls: each agent answers once, and calls its tool before. The crew of JSON has memory, as CrewAI makes
# it: its tool is the search of it, and two more calls remember its answer.
CALLS = {"latest_ai": 2, "report": 4, "gusts": 6, "fronts": 3, "squalls": 2}
TELLING = {
    "sqlite": {"latest_ai": {2}, "report": {2, 4}, "gusts": {1, 4, 6}, "fronts": {3}, "squalls": {1, 2}},
    "aws": {"latest_ai": {1, 2}},
}
EACH = {name: {*range(1, calls + 1)} for name, calls in CALLS.items()}
CUT: dict[str, dict[str, set[int]]] = {"sqlite": EACH, "aws": EACH} if LONG_FORM else TELLING
INPUTS: dict[str, dict[str, Any]] = {
    "latest_ai": {"topic": "rain", "current_year": "2026"},
    "report": {},
    "gusts": {"topic": "rain", "readers": [{"name": "Ann", "age": 40}]},
    "fronts": {"topic": "rain", "readers": [{"name": "Ann"}]},
    "squalls": {},
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    create(folder, "latest_ai", "crew", "--classic")
    create(folder, "report", "crew")
    flow(folder, "gusts")
    declared_flow(folder, "fronts")
    crew_with_mcp(folder, "squalls")
    return folder


def kill_crews(stack: RunningStack) -> None:
    for pid in stack.crews():
        os.kill(pid, signal.SIGKILL)


class Projects(NamedTuple):
    """A stack with the projects, whose models are this one."""

    stack: RunningStack
    model: ScriptedModel


@pytest.fixture(scope="module")
def projects(models: int, shelf: Path, request: pytest.FixtureRequest) -> Iterator[Projects]:
    short = {"CREWRELAY_CREWS": str(shelf), "CREWRELAY_LEASE_SECONDS": "2"}
    with closing(ScriptedModel(models)) as model:
        own = {"OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_API_KEY": "none"}  # of the models that it builds itself
        arguments = ["--aws"] if request.param == "aws" else []
        with running_stack(1, *arguments, **model_variables(model), **own, **short) as stack:
            yield Projects(stack, model)


@pytest.mark.parametrize(
    ("projects", "name", "cut"),
    [(engine, name, cut) for engine, cuts in CUT.items() for name, cut in cuts.items()],
    indirect=["projects"],
    ids=[f"{engine}-{name}" for engine, cuts in CUT.items() for name in cuts],
)
def test_a_project_of_crewai_survives_kill_9_in_mid_call(
    projects: Projects, shelf: Path, name: str, cut: set[int]
) -> None:
    stack, model = projects
    looks = looks_of(shelf / name)  # of its tool
    looks.unlink(missing_ok=True)
    model.script()
    calls, body = CALLS[name], {"crew": name, "inputs": INPUTS[name]}
    uncut = stack.client.post("/crewai/run", json=body).raise_for_status().json()
    assert uncut["usage"]["calls"] == model.calls() == calls
    embedded = model.embedded()
    looked = looks.read_text() if looks.exists() else ""
    # Where one is to be killed, it is told nothing; the call is made again.
    statuses = [status for call in range(1, calls + 1) for status in (["hang"] if call in cut else []) + ["200"]]
    model.script("--statuses", ",".join(statuses))
    job = stack.client.post("/crewai/run/async", json=body).raise_for_status().json()
    for repeated, call in enumerate(sorted(cut)):
        wait_until(lambda reached=call + repeated: model.calls() >= reached, within=180)  # type: ignore[misc]
        kill_crews(stack)
    ended = wait_until(
        lambda: (got := stack.client.get(job["status_url"]).json())["status"] == "completed" and got, within=180
    )
    assert ended["answer"] == uncut["answer"]
    assert model.calls() == calls + len(cut)  # each once, and once more where it was cut
    assert ended["usage"]["calls"] == calls
    assert model.embedded() == embedded
    assert (
        not looked or looks.read_text() == looked * 2
    )  # a tool runs once, an MCP server starts for its list and its call
