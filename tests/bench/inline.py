"""What `POST /crewai/run` adds to a call of the crew as a function; and 1, 10 and 32 of them at once in one process."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from statistics import median
from typing import Any

import httpx

from tests.bench.sizes import STARTS_WITHIN, size
from tests.bench.systems import peer_environment
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT
from tests.support.stack import model_variables, running_stack
from tests.support.waiting import wait_until

TIMES, WARM = size(30, 2), size(5, 1)
AT_ONCE, DELAY, CALLS = (1, 10, 32), 0.5, 3


def measure(server: int) -> dict[str, Any]:
    with closing(ScriptedModel(server)) as model:
        direct = _direct(model)
        with running_stack(1, **model_variables(model)) as stack:
            wait_until(lambda: len(stack.crews()) == 1, within=STARTS_WITHIN)
            inline = [_run(stack.url, f"topic {number}") for number in range(WARM + TIMES)][WARM:]
            model.script("--delay", str(DELAY))
            at_once = {str(number): _at_once(stack.url, number) for number in AT_ONCE}
    return {
        "times": TIMES,
        "direct_ms": round(median(direct) * 1000, 1),
        "inline_ms": round(median(inline) * 1000, 1),
        "delay": DELAY,
        "calls": CALLS,
        "at_once": at_once,
    }


def _direct(model: ScriptedModel) -> list[float]:
    command = [sys.executable, "-m", "tests.bench.peers.direct", str(WARM + TIMES)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=peer_environment(model),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=STARTS_WITHIN,
    )
    taken: list[float] = json.loads(done.stdout.splitlines()[-1])
    return taken[WARM:]


def _run(url: str, topic: str) -> float:
    begun = time.perf_counter()
    answer = httpx.post(f"{url}/crewai/run", json={"topic": topic, "language": "en"}, timeout=40)
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - begun


def _at_once(url: str, number: int) -> float:
    """Seconds until the last one is answered."""
    begun = time.monotonic()
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(lambda nth: _run(url, f"{number} at once, {nth}"), range(number)))
    return round(time.monotonic() - begun, 2)
