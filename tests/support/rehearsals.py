"""Processes that have imported CrewAI and fork the rehearsals of `crewrelay crews check`: each would import it anew.

One for each hash seed. A line of its input is the JSON of a Rehearsal, and is answered with the exit code.
"""

import gc
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from crewrelay.crews.environment import CREW_ENVIRONMENT
from tests.support.processes import ROOT

_MODULES = "crewrelay.cli.commands crewrelay.crews.running.checks crewrelay.crews.running.runner crewrelay.wiring.crews"


class Rehearsal(NamedTuple):
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    errors: str


class Rehearsals:
    """In place of the module `subprocess` in crewrelay.cli.crews.projects."""

    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._open = ExitStack()

    def run(self, command: list[str], env: Mapping[str, str], **_: Any) -> "subprocess.CompletedProcess[str]":
        """`command` is `python -m crewrelay …`."""
        seed = env["PYTHONHASHSEED"]
        process = self._processes.get(seed) or self._started(seed)
        assert process.stdin
        assert process.stdout
        with NamedTemporaryFile() as errors:
            asked = Rehearsal(command[3:], dict(env), os.getcwd(), errors.name)
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            code = int(process.stdout.readline())
            return subprocess.CompletedProcess(command, code, "", Path(errors.name).read_text())

    def _started(self, seed: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.rehearsals"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | CREW_ENVIRONMENT | {"PYTHONHASHSEED": seed},
        )
        self._processes[seed] = self._open.enter_context(process)
        return process

    def close(self) -> None:
        """A process ends with its input."""
        self._open.close()


def main() -> None:
    for module in _MODULES.split():
        importlib.import_module(module)
    gc.freeze()  # else each fork copies what its garbage collection touches
    assert threading.active_count() == 1, "a fork takes only the thread that forks along"
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _rehearse(Rehearsal(*json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _rehearse(rehearsal: Rehearsal) -> None:
    from crewrelay.cli.commands import app

    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        os.dup2(os.open(rehearsal.errors, os.O_WRONLY), 2)
        os.environ.clear()
        os.environ.update(rehearsal.environment)
        os.chdir(rehearsal.folder)
        app(rehearsal.arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
