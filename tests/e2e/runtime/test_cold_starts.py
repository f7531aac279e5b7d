"""What a cold start costs: a fresh interpreter that imports a built function's handler, as Lambda's runtime does.

`FAULTS=long` takes the median of more starts.
"""

import json
import os
import statistics
import subprocess
import time
from typing import NamedTuple

from tests.e2e.runtime.artifacts import AWS, HEAVY, LIGHT, Built, each
from tests.e2e.runtime.slot import PYTHON
from tests.support.fixtures import Figure

# CPU, in compilations of decimal.py beside it: seconds differ threefold between machines, and between hours of one.
LONGEST_LIGHT = 40
LONGEST_HEAVY = 250

LONG_FORM = os.environ.get("FAULTS") == "long"
STARTS_LIGHT, STARTS_HEAVY = (7, 3) if LONG_FORM else (3, 1)


# Says what the process has used by then: its time, user and system CPU, and the most memory it had (kB); and what it
# takes to compile decimal.py.
IMPORT = """
import MODULE, json, os, re, time
used = [time.monotonic(), *os.times()[:2]]
memory = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]
import _pydecimal
source = open(_pydecimal.__file__).read()
begun = time.process_time()
for _ in range(5):
    compile(source, "decimal", "exec")
print(json.dumps([*used, int(memory), (time.process_time() - begun) / 5]))
"""


class Start(NamedTuple):
    seconds: float
    user: float
    system: float
    megabytes: float
    compilations: float  # that take as much CPU


def started(function: Built) -> Start:
    env = AWS | {"PYTHONPATH": str(function.tree)} | function.variables({}) | {"HOME": "/tmp"}
    begun = time.monotonic()
    code = IMPORT.replace("MODULE", function.module)
    ran = subprocess.run([*PYTHON, "-c", code], env=env, cwd="/", capture_output=True, text=True, check=True)
    ready, user, system, kilobytes, compilation = json.loads(ran.stdout)
    return Start(ready - begun, user, system, kilobytes / 1000, (user + system) / compilation)


def median_start(function: Built, times: int, figure: Figure) -> Start:
    starts = [started(function) for _ in range(times)]
    median = Start(*(statistics.median(column) for column in zip(*starts, strict=True)))
    figure(
        f"cold start of {function.name:<18} {median.seconds * 1000:5.0f} ms, user CPU {median.user * 1000:5.0f} ms, "
        f"{median.compilations:3.0f} compilations, {median.megabytes:4.0f} MB of {function.memory} (median of {times})"
    )
    return median


@each(LIGHT)
def test_a_light_function_starts_quickly(function: Built, figure: Figure) -> None:
    assert median_start(function, STARTS_LIGHT, figure).compilations <= LONGEST_LIGHT


@each(HEAVY)
def test_a_crew_function_starts_well_within_lambdas_limit(function: Built, figure: Figure) -> None:
    median = median_start(function, STARTS_HEAVY, figure)
    assert median.compilations <= LONGEST_HEAVY
    assert median.megabytes <= function.memory / 2
