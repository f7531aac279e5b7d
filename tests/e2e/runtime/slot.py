"""One execution environment of a built function, under AWS's Runtime Interface Emulator and its runtime client."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from socket import create_connection
from typing import Any
from urllib.error import HTTPError

from tests.e2e.runtime.artifacts import AWS, CREW, Built
from tests.support import sandbox
from tests.support.processes import ROOT
from tests.support.stack import free_port
from tests.support.waiting import wait_until

# What a zip function finds beside its own files: AWS's client of the runtime. An image brings its own.
_RUNTIME = ("awslambdaric", "runtime_client*.so", "simplejson", "snapshot_restore_py.py")

# The interpreter itself, without what is installed for these tests (-S).
PYTHON = (str(Path(sys._base_executable).resolve()), "-S", "-s")  # type: ignore[attr-defined]

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_LONGEST = 180  # seconds


def emulator_binary() -> Path:
    (binary,) = (ROOT / ".venv-sam").glob("lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64")
    return binary.resolve()


def lay_out_runtime(folder: Path) -> Path:
    folder.mkdir()
    for found in (path for pattern in _RUNTIME for path in CREW.glob(pattern)):
        (shutil.copytree if found.is_dir() else shutil.copy)(found, folder / found.name)
    return folder


def entry_point() -> str:
    """The module that the image starts with, by its recipe."""
    (module,) = re.findall(r'^ENTRYPOINT \["python", "-m", "(.*)"\]$', (ROOT / "infra/Dockerfile").read_text(), re.M)
    return str(module)


@cache
def disk_can_be_closed() -> bool:
    """Whether functions see Lambda's disk here; else they see this machine's."""
    tried = [sys.executable, sandbox.__file__, "disk", "/etc", "/etc", sys.executable, "true"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


class Slot:
    """Takes one event at a time: a second one at once ends the emulator."""

    def __init__(self, port: int, log: Path, emulator: int = 0) -> None:
        self._emulator = emulator
        self._url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        self._lock = threading.Lock()
        self.log = log

    def invoke(self, event: Any) -> Any:
        """What the function answers; {"errorType": …} if it raised, {"errorMessage": "Task timed out …"} if killed."""
        body = json.dumps(event).encode()
        try:
            with self._lock, _OPENER.open(urllib.request.Request(self._url, body), timeout=_LONGEST) as answer:
                text = answer.read().decode()
        except HTTPError as answer:  # its process is gone
            text = answer.read().decode()
        return {"errorMessage": text} if text.startswith("Task timed out") else json.loads(text)

    def kill(self) -> None:
        """The function's process, as Lambda does when its memory is used up: `invoke` answers with an error."""
        (process,) = _children(self._emulator)
        os.kill(process, signal.SIGKILL)


def _children(process: int) -> list[int]:
    """Lambda's emulator has one: the function."""
    found = [thread.read_text() for thread in Path(f"/proc/{process}/task").glob("*/children")]
    return [int(child) for children in found for child in children.split()]


@contextmanager
def slot(
    function: Built, runtime: Path, log: Path, environment: Mapping[str, str], timeout: int | None = None
) -> Iterator[Slot]:
    """A function waiting for its first event. `timeout` in seconds takes the place of the template's."""
    port, runtime_port = free_port(), free_port()
    binary, closed = emulator_binary(), disk_can_be_closed()
    task, beside, emulator = (
        (sandbox.TASK, sandbox.RUNTIME, sandbox.EMULATOR) if closed else (function.tree, runtime, binary)
    )
    enclosed = [sys.executable, sandbox.__file__, "disk", str(function.tree), str(runtime), str(binary)]
    command = [
        *(enclosed if closed else []),
        *(str(emulator), "--log-level", "info"),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{runtime_port}"),
        *(*PYTHON, "-m", entry_point() if function.heavy else "awslambdaric", function.handler),
    ]
    env = {
        "PATH": os.environ["PATH"],
        "LANG": "en_US.UTF-8",
        "PYTHONPATH": str(task) if function.heavy else f"{task}:{beside}",
        "LAMBDA_TASK_ROOT": str(task),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout or function.timeout),
        **AWS,
        **environment,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=function.tree, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until(lambda: listens(process, port, log), within=20)
        yield Slot(port, log, process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
