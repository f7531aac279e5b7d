"""How soon a job goes on: after a relay, after SIGKILL of its process; and what its replay takes."""

import os
import signal
import time
from contextlib import closing
from datetime import datetime
from statistics import median
from typing import Any

from tests.bench.sizes import AWS, STARTS_WITHIN, size
from tests.support.models import ScriptedModel
from tests.support.stack import RunningStack, model_variables, running_stack
from tests.support.waiting import wait_until

RELAYS, KILLS, DELAY = size(4, 1), size(2, 1), 1.0


def measure(server: int) -> dict[str, Any]:
    found: dict[str, dict[str, float]] = {}
    for engine, arguments in (("SQLite", ()), ("AWS emulator", ("--aws",)))[: 1 + AWS]:
        with (
            closing(ScriptedModel(server, "--delay", str(DELAY))) as model,
            running_stack(1, *arguments, **model_variables(model)) as stack,
        ):
            wait_until(lambda stack=stack: len(stack.crews()) == 1, within=STARTS_WITHIN)  # type: ignore[misc]
            relays = [_relay(stack, f"relayed {number}") for number in range(RELAYS)]
            kills = [_kill(stack, model, f"killed {number}") for number in range(KILLS)]
        found[engine] = {
            "relay_ms": round(median(relays) * 1000, 1),
            "replay_ms": round(median(replay for _, replay in kills) * 1000, 1),
            "killed_s": round(median(seconds for seconds, _ in kills), 1),
            "killed_most_s": round(max(seconds for seconds, _ in kills), 1),
        }
    return {"relays": RELAYS, "kills": KILLS, "engines": found}


def _relay(stack: RunningStack, topic: str) -> float:
    """Seconds from the relay of an inline run, whose caller waits no longer, to its next claim."""
    body, headers = {"topic": topic, "language": "en"}, {"Prefer": "wait=2"}
    answer = stack.client.post("/crewai/run", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    events = _events(stack, answer.json()["job_id"])
    relayed = next(place for place, event in enumerate(events) if event["event"] == "relayed")
    claimed = next(event for event in events[relayed:] if event["event"] == "claimed")
    return _at(claimed) - _at(events[relayed])


def _kill(stack: RunningStack, model: ScriptedModel, topic: str) -> tuple[float, float]:
    """Seconds from the kill in mid-call to the next claim, and from there to the request that was under way."""
    job_id = stack.client.post("/crewai/run/async", json={"topic": topic, "language": "en"}).json()["job_id"]
    wait_until(lambda: model.calls_by("topic")[topic] >= 2, within=STARTS_WITHIN, every=0.02)
    killed = time.time()
    for pid in stack.crews():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: model.calls_by("topic")[topic] >= 3, within=STARTS_WITHIN, every=0.005)
    asked = time.time()
    claims = [event for event in _events(stack, job_id) if event["event"] == "claimed"]
    return _at(claims[-1]) - killed, asked - _at(claims[-1])


def _events(stack: RunningStack, job_id: str) -> list[dict[str, Any]]:
    def completed() -> bool:
        status: str = stack.client.get(f"/crewai/status/{job_id}").json()["status"]
        assert status != "failed"
        return status == "completed"

    wait_until(completed, within=STARTS_WITHIN)
    events: list[dict[str, Any]] = stack.client.get(f"/crewai/jobs/{job_id}/events").json()["events"]
    return events


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()
