"""`make bench`: 200 jobs of three model calls of 0.3 s, on each engine and on what everybody starts with, in one run.

Figures are printed; what is asserted are ratios, with room for noise. BENCH_JOBS changes the number of jobs.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import httpx
import pytest

from tests.support.models import ScriptedModel
from tests.support.processes import listening
from tests.support.stack import children, environment, free_port, model_variables, running_stack
from tests.support.waiting import wait_until

JOBS = int(os.environ.get("BENCH_JOBS", "200"))
TICK = os.sysconf("SC_CLK_TCK")


class Drained(NamedTuple):
    """Seconds, but for `cpu`: CPU milliseconds a job by process."""

    took: float
    submit_p50: float
    health_p95: float
    idle_p95: float
    cpu: dict[str, float]


@contextmanager
def background_tasks(model: ScriptedModel) -> Iterator[tuple[str, int]]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.background_tasks", str(port), model.url]
    variables = environment(CREWAI_DISABLE_TELEMETRY="true", CREWAI_TRACING_ENABLED="false", OTEL_SDK_DISABLED="true")
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: healthy(f"http://127.0.0.1:{port}"), within=60)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


@contextmanager
def stack(model: ScriptedModel, *arguments: str) -> Iterator[tuple[str, int]]:
    with running_stack(os.cpu_count() or 1, *arguments, **model_variables(model)) as running:
        wait_until(lambda: len(children(running.process.pid)) >= (os.cpu_count() or 1), within=60)
        yield running.url, running.process.pid


def cpu_of(pid: int) -> dict[str, float]:
    """CPU seconds so far of a process and its children, by what they run."""
    used: dict[str, float] = {}
    for one in (pid, *children(pid)):
        words = Path(f"/proc/{one}/cmdline").read_text().split("\0")
        name = next((word.rpartition(".")[2] for word in words if word.startswith(("crewrelay.", "tests."))), "gateway")
        ticks = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]
        used[name] = used.get(name, 0) + sum(map(int, ticks)) / TICK
    return used


def drain(url: str, pid: int) -> Drained:
    with httpx.Client(base_url=url, timeout=60) as client:
        submit(client, "warm", 4)
        idle = health(client, 1)
        before, begun = cpu_of(pid), time.monotonic()
        with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=url, timeout=60) as other:
            watching = pool.submit(health, other, 3)
            taken = submit(client, "job", JOBS)
            loaded = watching.result()
        took, after = time.monotonic() - begun, cpu_of(pid)
    used = {name: (after[name] - before.get(name, 0)) / JOBS * 1000 for name in after}
    return Drained(took, median(taken), loaded, idle, used)


def submit(client: httpx.Client, name: str, number: int) -> list[float]:
    """Submit so many and wait until all are done. Returns the seconds that each submission took."""

    def one(nth: int) -> tuple[str, float]:
        begun = time.perf_counter()
        answer = client.post("/crewai/run/async", json={"topic": f"{name} {nth}", "language": "en"})
        return str(answer.raise_for_status().json()["job_id"]), time.perf_counter() - begun

    with ThreadPoolExecutor(4) as pool:
        submitted = list(pool.map(one, range(number)))
    waiting = [job_id for job_id, _ in submitted]

    def done() -> bool:
        while waiting and client.get(f"/crewai/status/{waiting[-1]}").json()["status"] == "completed":
            waiting.pop()
        return not waiting

    wait_until(done, within=300, every=0.1)
    return [seconds for _, seconds in submitted]


def health(client: httpx.Client, seconds: float) -> float:
    """The 95th percentile of /health."""
    end, taken = time.monotonic() + seconds, list[float]()
    while time.monotonic() < end:
        begun = time.perf_counter()
        client.get("/health").raise_for_status()
        taken.append(time.perf_counter() - begun)
        time.sleep(0.01)
    return quantiles(taken, n=20)[-1]


def test_two_hundred_jobs_are_done_sooner_than_by_background_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Drained] = {}
    with listening("tests.support.doubles.model_server") as server:
        for name, start in (
            ("SQLite", stack),
            ("emulator", lambda model: stack(model, "--aws")),
            ("BackgroundTasks", background_tasks),
        ):
            with closing(ScriptedModel(server, "--delay", "0.3")) as model, start(model) as (url, pid):
                found[name] = drain(url, pid)
    with capsys.disabled():
        print(f"\n{JOBS} jobs of 3 calls of 0.3 s, {os.cpu_count()} cores")
        for name, one in found.items():
            by = ", ".join(f"{process} {ms:.0f}" for process, ms in one.cpu.items())
            print(
                f"{name:16} {one.took:5.1f} s, submit p50 {one.submit_p50 * 1000:.1f} ms,"
                f" /health p95 {one.health_p95 * 1000:.1f} ms (idle {one.idle_p95 * 1000:.1f}),"
                f" CPU a job {sum(one.cpu.values()):.0f} ms ({by})"
            )
        print(f"SQLite / BackgroundTasks: {found['SQLite'].took / found['BackgroundTasks'].took:.2f}")
    assert found["SQLite"].took < found["emulator"].took
    assert found["SQLite"].took < 0.7 * found["BackgroundTasks"].took
