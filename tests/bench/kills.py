"""What SIGKILL of all processes that run crews costs in mid-job: jobs that never end, calls that are paid twice."""

import time
from contextlib import closing
from typing import Any

from tests.bench import load
from tests.bench.sizes import STARTS_WITHIN
from tests.bench.systems import EMULATOR, SYSTEMS, Start
from tests.support.models import ScriptedModel
from tests.support.waiting import wait_until

JOBS, CALLS, DELAY = 12, 3, 2.0
_OTHERS = 5  # seconds from one other job to the next
_QUIET = 40  # seconds without a call of these jobs; a lease of crewrelay's and a sweep take 30


def measure(server: int) -> dict[str, Any]:
    found = {name: killed(server, start) for name, start in SYSTEMS.items() if name != EMULATOR}
    return {"jobs": JOBS, "calls": CALLS, "delay": DELAY, "systems": found}


def killed(server: int, start: Start) -> dict[str, float]:
    """All jobs are under way: each has paid for a call, and waits for its second one."""
    with closing(ScriptedModel(server, "--delay", "0")) as model, start(model) as system:
        load.run(system.url, "warm", 8)
        model.script("--delay", str(DELAY))
        waiting = load.Waiting(system.url, list(load.submit(system.url, [f"job {n}" for n in range(JOBS)])))
        wait_until(lambda: min(_calls(model)) >= 2, within=STARTS_WITHIN, every=0.02)
        under_way, begun = waiting.count(), time.monotonic()
        system.kill()
        _until_it_works_again(system.url)
        _settle(system.url, model, waiting)
        took = time.monotonic() - begun
        lost = waiting.count()
        again = sum(max(0, calls - CALLS) for calls in _calls(model))
    return {"under_way": under_way, "lost": lost, "paid_again": again, "seconds": round(took, 1)}


def _calls(model: ScriptedModel) -> list[int]:
    by_topic = model.calls_by("topic")
    return [by_topic[f"job {number}"] for number in range(JOBS)]


def _until_it_works_again(url: str) -> None:
    """A new job is done: whoever has none of the old ones by now has been started and can take them."""
    wait_until(lambda: load.is_up(url), within=STARTS_WITHIN)
    wait_until(load.Waiting(url, list(load.submit(url, ["another"]))).done, within=STARTS_WITHIN)


def _settle(url: str, model: ScriptedModel, waiting: load.Waiting) -> None:
    """Until all are done, or nothing happens to them any more. Other jobs come meanwhile: taskiq looks for messages to
    give back only after a new one.
    """
    calls, since, next_other = list[int](), time.monotonic(), time.monotonic()
    while not waiting.done() and time.monotonic() < since + _QUIET:
        if time.monotonic() >= next_other:
            load.submit(url, ["another"])
            next_other = time.monotonic() + _OTHERS
        if (now := _calls(model)) != calls:
            calls, since = now, time.monotonic()
        time.sleep(0.2)
