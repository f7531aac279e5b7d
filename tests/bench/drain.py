"""How long so many jobs of three model calls take, and their CPU, on each engine and on what others use."""

import time
from contextlib import closing
from typing import Any

from tests.bench import load
from tests.bench.sizes import AWS, size
from tests.bench.systems import CELERY_LATE, EMULATOR, SYSTEMS, Start
from tests.support.models import ScriptedModel

JOBS, DELAY = size(100, 6), 0.3


def measure(server: int) -> dict[str, Any]:
    left_out = {CELERY_LATE} if AWS else {CELERY_LATE, EMULATOR}
    found = {name: drained(server, start) for name, start in SYSTEMS.items() if name not in left_out}
    return {"jobs": JOBS, "calls": 3, "delay": DELAY, "systems": found}


def drained(server: int, start: Start) -> dict[str, float]:
    with closing(ScriptedModel(server, "--delay", str(DELAY))) as model, start(model) as system:
        load.run(system.url, "warm", 8)
        before, begun = load.cpu_of(system.processes()), time.monotonic()
        submitted = load.run(system.url, "job", JOBS)
        took = time.monotonic() - begun
        cpu = load.cpu_of(system.processes()) - before
    return {
        "seconds": round(took, 2),
        "cpu_ms_per_job": round(cpu / JOBS * 1000, 1),
        "submit_p50_ms": load.milliseconds(submitted)["p50_ms"],
    }
