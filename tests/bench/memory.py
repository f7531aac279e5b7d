"""The memory of a crew process over many jobs, without a model that would be waited for. BENCH_MEMORY_JOBS of them."""

import os
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.sizes import STARTS_WITHIN, size
from tests.support.models import ScriptedModel
from tests.support.stack import RunningStack, model_variables, running_stack
from tests.support.waiting import wait_until

JOBS, STEPS = int(os.environ.get("BENCH_MEMORY_JOBS", size(5_000, 20))), 10
WARM = size(100, 10)  # jobs, after which every pool of threads and connections is as large as it gets


def measure(server: int) -> dict[str, Any]:
    with (
        closing(ScriptedModel(server)) as model,
        running_stack(os.cpu_count() or 1, **model_variables(model)) as stack,
    ):
        wait_until(lambda: len(stack.crews()) == (os.cpu_count() or 1), within=STARTS_WITHIN)
        begun, crews = _resident(stack), stack.crews()
        load.run(stack.url, "warm", WARM)
        curve = [(WARM, _resident(stack))]
        for step in range(STEPS):
            load.run(stack.url, f"step {step}", JOBS // STEPS)
            curve.append((WARM + (step + 1) * JOBS // STEPS, _resident(stack)))
        assert stack.crews() == crews, "a crew process was replaced meanwhile"
    grown = (curve[-1][1] - curve[STEPS // 2][1]) * 1024 / (curve[-1][0] - curve[STEPS // 2][0])
    return {"jobs": WARM + JOBS, "begun_mb": begun, "curve_mb": curve, "late_kb_per_job": round(grown, 1)}


def _resident(stack: RunningStack) -> float:
    """Of all crew processes, in MB."""
    return round(sum(_resident_of(pid) for pid in stack.crews()) / 1024, 1)


def _resident_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])
