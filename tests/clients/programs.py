"""Runs a program of this folder in the environment of its client, and goes on while it runs."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.processes import ROOT


@contextmanager
def started(environment: str, program: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """`environment` is the folder of its virtual environment. The program is ended with the context."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    with tempfile.TemporaryDirectory() as home:
        quiet = {
            "HOME": home,
            "CREWAI_DISABLE_TELEMETRY": "true",
            "OTEL_SDK_DISABLED": "true",
            "CREWAI_TESTING": "true",
        }
        command = [str(ROOT / environment / "bin/python"), str(ROOT / f"tests/clients/{program}.py"), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=home, env=kept | quiet)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def told(process: "subprocess.Popen[str]", within: float = 90) -> dict[str, Any]:
    """What the program's last line says."""
    output, _ = process.communicate(timeout=within)
    assert process.returncode == 0, output
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found
