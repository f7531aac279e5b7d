"""The folder of a stack: it outlives every process, has one stack at a time, and is never overwritten."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from crewrelay.jobs.errors import Unavailable
from tests.support.http_apps import assert_problem
from tests.support.models import ScriptedModel
from tests.support.stack import RunningStack, children, model_variables, running_stack, serve_and_fail
from tests.support.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}
KEYED = {"Idempotency-Key": "one"}


def kill(stack: RunningStack) -> None:
    """Everything at once, as a power failure would."""
    for pid in (stack.process.pid, *children(stack.process.pid)):
        os.kill(pid, signal.SIGKILL)
    stack.process.wait(10)


def test_after_everything_was_killed_jobs_go_on_and_nothing_is_forgotten(models: int, tmp_path: Path) -> None:
    variables = {"CREWRELAY_DATA": str(tmp_path), "CREWRELAY_LEASE_SECONDS": "2"}
    with closing(ScriptedModel(models)) as model:
        variables |= model_variables(model)
        with running_stack(1, "--auth", **variables) as stack:
            token = stack.client.headers["Authorization"]
            done = stack.client.post("/crewai/run", json=EXAMPLE).json()
            model.script("--delay", "30")
            begun = stack.client.post("/crewai/run/async", json=EXAMPLE, headers=KEYED).json()["job_id"]
            wait_until(lambda: stack.jobs()[begun] == "running", within=20)
            kill(stack)
        model.script()
        with running_stack(1, "--auth", **variables) as stack:
            stack.client.headers["Authorization"] = token
            assert stack.found == "1 unfinished job goes on"
            again = stack.client.post("/crewai/run/async", json=EXAMPLE, headers=KEYED)
            assert again.json()["job_id"] == begun
            known = stack.client.get(f"/crewai/status/{done['job_id']}").json()
            assert (known["result"], known["usage"]) == (done["result"], done["usage"])
            status = f"/crewai/status/{begun}"
            wait_until(lambda: stack.client.get(status).json()["status"] == "completed", within=30)


def test_a_folder_has_one_stack_at_a_time(tmp_path: Path) -> None:
    with running_stack(1, "--data", str(tmp_path)) as stack:
        refused = serve_and_fail("--port", "0", "--data", str(tmp_path))
        assert refused.returncode == 1
        assert refused.stderr == (
            f"crewrelay: another `crewrelay serve` keeps its jobs in {tmp_path}: name another with --data\n"
        )
        kill(stack)
    with running_stack(1, "--data", str(tmp_path)):
        pass  # the dead one's lock is gone with it


def test_a_damaged_file_is_one_clear_line_and_left_as_it_is(tmp_path: Path) -> None:
    damaged = tmp_path / "jobs.db"
    damaged.write_bytes(b"nonsense" * 1000)
    refused = serve_and_fail("--port", "0", "--data", str(tmp_path))
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert f"{damaged} is damaged" in refused.stderr
    assert damaged.read_bytes() == b"nonsense" * 1000


def test_a_file_that_is_busy_for_too_long_refuses_and_says_when_to_come_back(stack: RunningStack) -> None:
    assert stack.data
    with closing(sqlite3.connect(stack.data / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = stack.client.post("/crewai/run/async", json=EXAMPLE)
    assert_problem(refused, 503, Unavailable.code)
    assert int(refused.headers["Retry-After"]) > 0
    assert stack.client.post("/crewai/run/async", json=EXAMPLE).status_code == 202
