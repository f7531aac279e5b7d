"""Submits jobs to a system and waits for them."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles

import httpx

from tests.support.waiting import wait_until

_TICK = os.sysconf("SC_CLK_TCK")


def submit(url: str, topics: Sequence[str], threads: int = 4) -> dict[str, float]:
    """Job ids with the seconds that each submission took."""
    with httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(threads) as pool:

        def one(topic: str) -> tuple[str, float]:
            begun = time.perf_counter()
            answer = client.post("/crewai/run/async", json={"topic": topic, "language": "en"})
            return str(answer.raise_for_status().json()["job_id"]), time.perf_counter() - begun

        return dict(pool.map(one, topics))


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


class Waiting:
    """The jobs that are not completed yet."""

    def __init__(self, url: str, job_ids: Sequence[str]) -> None:
        self._client = httpx.Client(base_url=url, timeout=60)
        self.left = list(job_ids)

    def done(self) -> bool:
        """Asks for one unfinished job after the other, until one still is."""
        while self.left and self._completed(self.left[-1]):
            self.left.pop()
        return not self.left

    def count(self) -> int:
        """How many are left."""
        self.left = [job_id for job_id in self.left if not self._completed(job_id)]
        return len(self.left)

    def _completed(self, job_id: str) -> bool:
        try:
            found: bool = self._client.get(f"/crewai/status/{job_id}").json()["status"] == "completed"
        except httpx.TransportError:  # being started again
            return False
        return found


def run(url: str, name: str, jobs: int, within: float = 600) -> list[float]:
    """Submit so many and wait until all are done. Returns the seconds that each submission took."""
    submitted = submit(url, [f"{name} {number}" for number in range(jobs)])
    wait_until(Waiting(url, list(submitted)).done, within, every=0.1)
    return list(submitted.values())


def cpu_of(processes: Sequence[int]) -> float:
    """CPU seconds so far."""
    return sum(_cpu(pid) for pid in processes)


def _cpu(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:  # it has ended
        return 0
    return sum(map(int, text.rpartition(")")[2].split()[11:13])) / _TICK


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Their median and 99th percentile."""
    return {
        "p50_ms": round(median(seconds) * 1000, 2),
        "p99_ms": round(quantiles(seconds, n=100, method="inclusive")[-1] * 1000, 2),
    }
