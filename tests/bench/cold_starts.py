"""A fresh interpreter imports each handler, as Lambda does at a cold start; from this checkout's packages."""

import subprocess
import sys
import time
from statistics import median
from typing import Any

from tests.bench.sizes import STARTS_WITHIN, size
from tests.support.stack import environment

FUNCTIONS = ("authorizer", "api", "intake", "sweeper", "notifier", "run", "worker")
TIMES = size(3, 1)
_AWS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "CREWRELAY_TABLE": "jobs",
    "CREWRELAY_BUCKET": "bodies",
    "CREWRELAY_QUEUE_URL": "http://127.0.0.1:1/jobs",
    "CREWRELAY_DLQ_URL": "http://127.0.0.1:1/dlq",
    "CREWRELAY_INTAKE_QUEUE_URL": "http://127.0.0.1:1/intake",
    "CREWRELAY_NOTIFY_QUEUE_URL": "http://127.0.0.1:1/notify",
}


def measure(_: int) -> dict[str, Any]:
    empty = median(_seconds("") for _ in range(TIMES))
    found = {name: median(_seconds(f"import {name}.handler") for _ in range(TIMES)) - empty for name in FUNCTIONS}
    return {"times": TIMES, "functions_ms": {name: round(seconds * 1000) for name, seconds in found.items()}}


def _seconds(code: str) -> float:
    """The first run may compile to bytecode, which the deployed functions ship; the median leaves it out."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment(**_AWS), check=True, timeout=STARTS_WITHIN)
    return time.perf_counter() - begun
