"""One file of many lines while the crew processes, which read it and run its jobs, are killed with SIGKILL: each line
comes to what it should, and no process grows. `FAULTS=long` sends 10,000 lines; BATCH_LINES another number.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fixtures import Figure
from tests.support.projects import little_flow
from tests.support.stack import RunningStack, running_stack
from tests.support.waiting import wait_until

LONG_FORM = os.environ.get("FAULTS") == "long"
LINES = int(os.environ.get("BATCH_LINES", "10000" if LONG_FORM else "60"))
KILLS = 10 if LONG_FORM else 1
BAD = 40  # every so many lines one breaks a rule
MOST_GROWTH = 40  # MB


def item(number: int) -> str:
    inputs: dict[str, Any] = {} if number % BAD else {"nothing": "declared"}
    return json.dumps({"custom_id": f"n{number}", "crew": "little", "inputs": inputs})


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    crews = little_flow(tmp_path / "crews", "return 'done'", "little")
    with running_stack(1, CREWRELAY_CREWS=str(crews)) as running:
        yield running


def resident(pid: int) -> float:
    """MB."""
    (pages,) = Path(f"/proc/{pid}/statm").read_text().split()[1:2]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def results(client: httpx.Client, url: str) -> dict[str, str]:
    """What each line came to, by its custom_id."""
    found: dict[str, str] = {}
    while url:
        response = client.get(url).raise_for_status()
        for line in response.text.splitlines():
            one = json.loads(line)
            assert one["custom_id"] not in found
            found[one["custom_id"]] = "rejected" if one["rejection"] else one["job"]["status"]
        url = response.links.get("next", {}).get("url", "")
    return found


def test_every_line_comes_to_what_it_should(stack: RunningStack, figure: Figure) -> None:
    client, body = stack.client, "\n".join(map(item, range(LINES))).encode()
    client.get("/crewai/crews").raise_for_status()
    before, grown, started = resident(stack.process.pid), 0.0, time.monotonic()
    answer = client.post("/crewai/batches", content=body, headers={"Content-Type": "application/jsonl"})
    batch, killed = answer.raise_for_status().json(), 0
    submitted = None

    def finished() -> bool:
        nonlocal killed, grown, submitted
        told = client.get(batch["batch_url"]).raise_for_status().json()
        grown = max(grown, resident(stack.process.pid) - before)
        ended = sum(told["counts"][name] for name in ("completed", "failed", "rejected"))
        if submitted is None and told["state"] == "submitted":
            submitted = time.monotonic() - started
        if ended >= LINES * (killed + 1) // (KILLS + 2) and killed < KILLS:
            for pid in stack.crews():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed += 1
        return bool(told["finished"])

    wait_until(finished, within=300 + LINES, every=0.5)
    took = time.monotonic() - started
    rejected = {f"n{number}" for number in range(0, LINES, BAD)}
    expected = {f"n{number}": "completed" for number in range(LINES)} | dict.fromkeys(rejected, "rejected")
    assert results(client, batch["results_url"]) == expected
    counts = client.get(batch["batch_url"]).json()["counts"]
    assert (counts["total"], counts["completed"], counts["rejected"]) == (LINES, LINES - len(rejected), len(rejected))
    grown = max(grown, resident(stack.process.pid) - before)
    figure(
        f"{LINES:,} lines, {killed} kills: all submitted after {submitted or took:.0f} s, all ended after {took:.0f} s;"
        f" the API process grew by {grown:.0f} MB"
    )
    assert killed == KILLS
    assert grown <= MOST_GROWTH
