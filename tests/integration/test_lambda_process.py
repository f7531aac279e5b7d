"""The crews' image under AWS's own runtime: a crew that does not come back costs the process, and no invocation."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.runtime.artifacts import AWS
from tests.e2e.runtime.slot import Slot, emulator_binary, entry_point, listens
from tests.support.processes import ROOT
from tests.support.stack import free_port
from tests.support.waiting import wait_until


@pytest.fixture
def function(tmp_path: Path) -> Iterator[Slot]:
    port, log = free_port(), tmp_path / "log"
    command = [
        *(str(emulator_binary()), "--log-level", "info"),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{free_port()}"),
        *(sys.executable, "-m", entry_point(), "tests.support.doubles.spinning_function.handler"),
    ]
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LAMBDA_TASK_ROOT": str(ROOT),
        "AWS_LAMBDA_FUNCTION_NAME": "worker",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
        **AWS,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until(lambda: listens(process, port, log), within=20)
        yield Slot(port, log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_crew_that_does_not_come_back_costs_the_process_and_no_invocation(function: Slot) -> None:
    first = function.invoke({})
    assert function.invoke({"crew": "spins"})["started"] == first["started"]
    next_ = function.invoke({"said": "handed over"})
    assert next_["event"] == {"said": "handed over"}
    assert next_["started"] != first["started"]
    assert next_["pid"] == first["pid"]  # so Lambda has seen no process end
    assert next_["threads"] == first["threads"]
    assert function.invoke({})["started"] == next_["started"]
    assert function.log.read_text().count("a crew does not come back") == 1


def test_a_crew_that_comes_back_late_does_not(function: Slot) -> None:
    first = function.invoke({"crew": "comes back"})
    assert function.invoke({})["started"] == first["started"]
