"""The disk that the jobs are on becomes full while they run, and has room again later."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from crewrelay.jobs.records.job import Status
from crewrelay.sqlite.database import FILE, Database
from tests.support import sandbox
from tests.support.fixtures import Figure
from tests.support.models import ScriptedModel
from tests.support.stack import COMMAND, RunningStack, children, environment, model_variables, running_stack
from tests.support.waiting import wait_until

JOBS = 6
CALLS = 3
FULL = "probably because the disk is full"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder that `on_small_disk` makes a small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    tried = subprocess.run([*on_small_disk(folder), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no namespaces here: {tried.stderr.splitlines()[-1]}")
    return folder


def on_small_disk(folder: Path) -> Sequence[str]:
    return (sys.executable, sandbox.__file__, "small-disk", str(folder), "8m")


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filling:
        try:
            while True:
                filling.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def is_sound(stack: RunningStack, folder: Path, copy: Path) -> bool:
    """A copy, for SQLite takes the path of the file for one of this namespace; nobody writes meanwhile."""
    pids = [*children(stack.process.pid), stack.process.pid]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    shutil.copytree(folder, copy)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    return Database(copy / FILE).check() == "ok"


def submitted(stack: RunningStack, number: int) -> httpx.Response:
    body, headers = {"topic": f"topic number {number}", "language": "en"}, {"Idempotency-Key": str(number)}
    return stack.client.post("/crewai/run/async", json=body, headers=headers)


def test_a_full_disk_loses_nothing_says_so_and_work_goes_on_once_there_is_room(
    models: int, disk: Path, tmp_path: Path, figure: Figure, capfd: pytest.CaptureFixture[str]
) -> None:
    said = ""

    def says(words: str) -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return words in said

    with (
        closing(ScriptedModel(models, "--delay", "0.3")) as model,
        running_stack(
            1,
            "--data",
            str(disk / "data"),
            inside=on_small_disk(disk),
            **model_variables(model),
            CREWRELAY_LEASE_SECONDS="2",
        ) as stack,
    ):
        seen_here = Path(f"/proc/{stack.process.pid}/root{disk}")
        crews = stack.crews()
        accepted = {number: submitted(stack, number).json()["job_id"] for number in range(JOBS)}
        wait_until(lambda: model.calls() >= JOBS + 1, within=30)
        fill(seen_here / "filler")

        refused = [submitted(stack, JOBS + number) for number in range(3)]
        for answer in refused:
            problem = answer.json()
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert FULL in problem["detail"]
            assert "Make room" in problem["detail"]
            assert problem["remedy"]
        assert stack.client.get(f"/crewai/status/{accepted[0]}").status_code == 200
        wait_until(lambda: says(FULL) and says("could not look at a job"), within=30)  # the sweeper's turn has come
        paid_while_full = model.calls()

        (seen_here / "filler").unlink()
        again = {number: accepted_again(stack, number) for number in range(JOBS + len(refused))}
        jobs = [ended(stack, job_id) for job_id in again.values()]
        assert {job["status"] for job in jobs} == {Status.COMPLETED}
        assert accepted.items() <= again.items()
        assert stack.crews() == crews
        paid = model.calls()
        assert is_sound(stack, seen_here / "data", tmp_path / "copy")
    figure(
        f"a full disk: {JOBS} jobs accepted before, 0 lost, {len(refused)} refused with 503 and accepted later, "
        f"{paid} calls paid of {len(again) * CALLS} needed, {paid_while_full} of them before there was room"
    )
    assert paid <= (len(again) + JOBS) * CALLS


def accepted_again(stack: RunningStack, number: int) -> str:
    def job_id() -> str | None:
        answer = submitted(stack, number)
        found: str | None = answer.json().get("job_id")
        return found

    return wait_until(job_id, within=20)


def ended(stack: RunningStack, job_id: str) -> dict[str, Any]:
    def job() -> dict[str, Any] | None:
        found: dict[str, Any] = stack.client.get(f"/crewai/status/{job_id}").json()
        return found if Status(found["status"]).finished else None

    return wait_until(job, within=60)


def run_on_full_disk(disk: Path, before: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command of ours, which is followed by a list of what is on the disk."""
    script = f'{before}; head -c 9m /dev/zero >{disk}/filler 2>/dev/null; "$@"; code=$?; ls {disk}; exit $code'
    command = [*on_small_disk(disk), "sh", "-c", script, "sh", *COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=False)


@pytest.mark.parametrize("what", ["nothing", "jobs"])
def test_a_start_on_a_full_disk_is_one_clear_line(disk: Path, tmp_path: Path, what: str) -> None:
    Database(tmp_path / "jobs" / FILE)
    (tmp_path / "nothing").mkdir()
    copied = f"cp -r {tmp_path / what} {disk}/data"
    failed = run_on_full_disk(disk, copied, "serve", "--port", "0", "--data", str(disk / "data"))
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1, failed.stderr
    assert FULL in failed.stderr


def test_a_backup_onto_a_full_disk_says_so_and_leaves_no_part_of_it(disk: Path, tmp_path: Path) -> None:
    Database(tmp_path / "jobs" / FILE)
    failed = run_on_full_disk(disk, ":", "backup", str(disk / "copy.db"), "--data", str(tmp_path / "jobs"))
    assert failed.returncode == 1
    assert f"to {disk}/copy.db: database or disk is full" in failed.stderr
    assert failed.stdout.split() == ["filler"]
