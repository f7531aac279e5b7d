"""A child process of the stack, and what it leaves behind."""

import asyncio
import os
import time

import pytest

from crewrelay.local.process import ChildProcess
from tests.support.processes import ROOT
from tests.support.waiting import wait_until


def is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_its_end_is_seen_and_takes_along_what_it_started(capfd: pytest.CaptureFixture[str]) -> None:
    async def end() -> int:
        child = await ChildProcess.start(
            "tests.support.doubles.leaving_child", {**os.environ, "PYTHONPATH": str(ROOT)}, "/"
        )
        return await child.ended()

    begun = time.monotonic()
    assert asyncio.run(end()) == 75
    assert time.monotonic() - begun < 30  # half as long as what is left behind lives
    begun_with, pid = capfd.readouterr().err.split()
    assert begun_with == "beginning"  # also what it prints before it listens
    left = int(pid)
    wait_until(lambda: is_gone(left), within=10)
