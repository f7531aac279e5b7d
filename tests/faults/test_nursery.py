"""Threads of a test share the nursery: each is answered what it asked."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.faults.bench import Nursery
from tests.faults.nursery import Birth

# Gives what it was asked for; between the number and the end of its line anybody else may read.
_SLOW_TO_END_A_LINE = """
import json, sys, time
for line in sys.stdin:
    print(json.loads(line)[0], end="", flush=True)
    time.sleep(0.01)
    print(flush=True)
"""


def test_threads_that_speak_at_once_are_answered_in_turn() -> None:
    command = [sys.executable, "-c", _SLOW_TO_END_A_LINE]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        ThreadPoolExecutor(4) as pool,
    ):
        nursery, numbers = Nursery(process), range(100)
        answers = list(pool.map(lambda number: nursery.bear(Birth(str(number), {})), numbers))
    assert answers == list(numbers)
