"""OpenAI's requests, and the events of its streams."""

import json
from datetime import timedelta
from typing import Any

from crewrelay.jobs.ports import Clock
from crewrelay.system import utcnow
from tests.support.fixtures import Storage
from tests.support.http_apps import ScriptedCrew, execution_of

ASKED: dict[str, Any] = {"model": "research", "input": "neural networks", "metadata": {"language": "en"}}
CHAT: dict[str, Any] = {
    "model": "research",
    "messages": [{"role": "user", "content": "neural networks"}],
    "metadata": {"language": "en"},
}


def work(storage: Storage, crew: ScriptedCrew | None = None, clock: Clock = utcnow) -> list[str]:
    """Runs the jobs that nobody has run yet; their ids."""
    rows = [row for row in storage.rows() if row["sk"]["S"] == "JOB" and row["status"]["S"] == "pending"]
    ids = [row["pk"]["S"].removeprefix("JOB#") for row in rows]
    for job_id in ids:
        execution = execution_of(storage, crew or ScriptedCrew(), clock)
        execution.run(job_id, clock() + timedelta(minutes=5), first_call_is_free=True)
    return ids


def streamed(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each of which names its type twice."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if lines.get("data", "[DONE]") != "[DONE]":
            event = json.loads(lines["data"])
            assert lines.get("event") == event.get("type")
            found.append(event)
    return found
