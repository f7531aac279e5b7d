"""What a cold start costs: a fresh interpreter that imports a built function's handler, as Lambda's runtime does."""

import json
import statistics
import subprocess
import time
from typing import NamedTuple

from tests.conftest import Figure
from tests.e2e.runtime.artifacts import AWS, HEAVY, LIGHT, Built, each
from tests.e2e.runtime.slot import PYTHON

LONGEST_LIGHT = 0.7  # seconds of user CPU
LONGEST_HEAVY = 5.0  # seconds of all CPU: half of what Lambda waits for an image's init


# Says what the process has used by then: its time, user and system CPU, and the most memory it had (kB).
IMPORT = """
import MODULE, json, os, re, time
memory = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]
print(json.dumps([time.monotonic(), *os.times()[:2], int(memory)]))
"""


class Start(NamedTuple):
    seconds: float
    user: float
    system: float
    megabytes: float


def started(function: Built) -> Start:
    env = AWS | {"PYTHONPATH": str(function.tree)} | function.variables({}) | {"HOME": "/tmp"}
    begun = time.monotonic()
    code = IMPORT.replace("MODULE", function.module)
    ran = subprocess.run([*PYTHON, "-c", code], env=env, cwd="/", capture_output=True, text=True, check=True)
    ready, user, system, kilobytes = json.loads(ran.stdout)
    return Start(ready - begun, user, system, kilobytes / 1000)


def median_start(function: Built, times: int, figure: Figure) -> Start:
    starts = [started(function) for _ in range(times)]
    median = Start(*(statistics.median(column) for column in zip(*starts, strict=True)))
    figure(
        f"cold start of {function.name:<18} {median.seconds * 1000:5.0f} ms, user CPU {median.user * 1000:5.0f} ms, "
        f"{median.megabytes:4.0f} MB of {function.memory} (median of {times})"
    )
    return median


@each(LIGHT)
def test_a_light_function_starts_quickly(function: Built, figure: Figure) -> None:
    assert median_start(function, 7, figure).user <= LONGEST_LIGHT


@each(HEAVY)
def test_a_crew_function_starts_well_within_lambdas_limit(function: Built, figure: Figure) -> None:
    median = median_start(function, 3, figure)
    assert median.user + median.system <= LONGEST_HEAVY
    assert median.megabytes <= function.memory / 2
