"""The inline run stops waiting at the deadline, whatever the model does; and what a run leaves, another takes up."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from tests.e2e.stacks import LIMIT, ScriptedStack
from tests.support.stack import RunningStack, children_running
from tests.support.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}


def status(stack: RunningStack, location: str) -> str:
    return str(stack.client.get(location).json()["status"])


def test_a_run_that_does_not_fit_is_left_to_the_worker(hasty: ScriptedStack) -> None:
    stack, model = hasty
    model.script("--delay", "0.9")
    response = stack.client.post("/crewai/run", json=EXAMPLE)
    assert response.status_code == 202
    location = response.headers["Location"]
    wait_until(lambda: status(stack, location) == "completed", within=20)
    assert "About neural networks" in stack.client.get(location).json()["result"]


@contextmanager
def stalled(stack: RunningStack) -> Iterator[None]:
    """Its table answers no write."""
    if stack.data:
        with closing(sqlite3.connect(stack.data / "jobs.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            yield
        return
    (emulator,) = children_running(stack.process.pid, "crewrelay.local.emulator")
    os.kill(emulator, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(emulator, signal.SIGCONT)


@pytest.mark.parametrize(("engine", "headers"), [("hasty", {}), ("scripted", {"Prefer": "wait=2"})])
def test_a_table_that_stalls_does_not_hold_the_request(
    request: pytest.FixtureRequest, engine: str, headers: dict[str, str]
) -> None:
    stack, model = request.getfixturevalue(engine)
    model.script("--delay", "3")
    before = stack.jobs().keys()
    location = stack.client.post("/crewai/run/async", json=EXAMPLE).headers["Location"]
    wait_until(lambda: status(stack, location) == "running", within=10)

    def both_run() -> bool:
        return [status for job_id, status in stack.jobs().items() if job_id not in before] == ["running"] * 2

    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        inline = pool.submit(stack.client.post, "/crewai/run", json=EXAMPLE, headers=headers)
        wait_until(both_run, within=2, every=0.02)
        with stalled(stack):
            response = inline.result()
            assert time.monotonic() - started < LIMIT
    assert response.status_code == 202
    model.script()
    wait_until(lambda: status(stack, response.headers["Location"]) == "completed", within=60)


def test_a_model_that_trickles_its_answer_does_not_hold_the_request(hasty: ScriptedStack) -> None:
    # A byte every 50 ms: no read of the client ever times out, and one answer takes half a minute.
    stack, model = hasty
    model.script("--trickle", "0.05")
    started = time.monotonic()
    response = stack.client.post("/crewai/run", json=EXAMPLE)
    assert time.monotonic() - started < LIMIT
    assert response.status_code == 202
    assert set(response.json()) == {"job_id", "status", "status_url"}
    assert int(response.headers["Retry-After"]) > 0
    job = stack.client.get(response.headers["Location"]).json()
    assert job["status"] in ("pending", "running")
    stack.client.post(f"/crewai/jobs/{job['job_id']}/cancel").raise_for_status()


def kill(crews: set[int]) -> None:
    assert crews
    for pid in crews:
        os.kill(pid, signal.SIGKILL)


def killed_inline(stack: RunningStack) -> tuple[int, str]:
    """What an inline run was answered whose process was killed once its job was there; and the job. Another process has
    been started.
    """
    wait_until(lambda: stack.client.get("/crewai/run").status_code == 405, within=40)  # a crew process answers
    before, crews = stack.jobs().keys(), stack.crews()
    with ThreadPoolExecutor(1) as pool:
        inline = pool.submit(stack.client.post, "/crewai/run", json=EXAMPLE)
        (job_id,) = wait_until(lambda: stack.jobs().keys() - before, within=20, every=0.02)
        kill(crews)
        answered = inline.result().status_code
    wait_until(lambda: stack.crews() - crews, within=20)
    return answered, job_id


def test_killed_crew_processes_are_started_again_and_their_jobs_go_on(hasty: ScriptedStack) -> None:
    """An inline run, and one of the worker's."""
    stack, model = hasty
    model.script("--delay", "30")  # nothing ends before it is killed
    location = stack.client.post("/crewai/run/async", json=EXAMPLE).headers["Location"]
    wait_until(lambda: status(stack, location) == "running", within=10)
    # A look at the table may take longer than the two seconds after which it is answered 202: then it is too late.
    kills, (answered, job_id) = next(
        (kills, tried) for kills in range(1, 5) if (tried := killed_inline(stack))[0] != 202
    )
    assert answered == 503
    model.script()
    wait_until(lambda: status(stack, f"/crewai/status/{job_id}") == "completed", within=40)
    wait_until(lambda: status(stack, location) == "completed", within=60)
    assert stack.client.get(location).json()["attempts"] <= kills  # the first one is not held against it


def test_a_crew_process_that_hangs_is_killed_and_its_jobs_go_on(hasty: ScriptedStack) -> None:
    stack, model = hasty
    model.script("--delay", "30")
    location = stack.client.post("/crewai/run/async", json=EXAMPLE).headers["Location"]
    wait_until(lambda: status(stack, location) == "running", within=10)
    hanging = stack.crews()
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    model.script()
    try:
        wait_until(lambda: hanging - stack.crews(), within=30)  # four leases of two seconds
    finally:
        for pid in hanging & stack.crews():
            os.kill(pid, signal.SIGCONT)  # one that was being imported, and isn't asked meanwhile
    wait_until(lambda: status(stack, location) == "completed", within=60)
