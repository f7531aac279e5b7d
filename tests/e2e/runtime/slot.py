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
_LONGEST = 60  # seconds


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

    def __init__(self, port: int, log: Path) -> None:
        self._url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        self._lock = threading.Lock()
        self.log = log

    def invoke(self, event: Any) -> Any:
        """What the function answers; {"errorType": …} if it raised, {"errorMessage": "Task timed out …"} if killed."""
        body = json.dumps(event).encode()
        with self._lock, _OPENER.open(urllib.request.Request(self._url, body), timeout=_LONGEST) as answer:
            text = answer.read().decode()
        return {"errorMessage": text} if text.startswith("Task timed out") else json.loads(text)


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
        yield Slot(port, log)
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
