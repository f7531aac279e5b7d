"""How soon the stack answers, and what it costs while it has nothing to do.

Run by itself: what it measures is not to be shared with other tests. `FAULTS=long` looks at it for longer.
"""

import os
import subprocess
import time
from collections import Counter
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx

from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import Question
from crewrelay.sqlite.database import FILE, Database
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.system import utcnow
from tests.support.stack import COMMAND, RunningStack, children, environment, free_port, running_stack
from tests.support.waiting import wait_until

LONG_FORM = os.environ.get("FAULTS") == "long"
WAITING = 1000 if LONG_FORM else 200  # jobs
SECONDS = 5 if LONG_FORM else 2  # of a look at an idle stack
EXAMPLE = {"topic": "neural networks", "language": "en"}


def test_health_answers_soon_after_the_start() -> None:
    """The best of three: other work on the machine must not decide it."""

    def seconds_to_health() -> float:
        port = free_port()
        started = time.monotonic()
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)], stdout=subprocess.DEVNULL, env=environment()
        )
        try:

            def healthy() -> bool:
                try:
                    return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).status_code == 200
                except httpx.TransportError:
                    return False

            wait_until(healthy, within=10, every=0.01)
            return time.monotonic() - started
        finally:
            process.terminate()
            process.wait(15)

    assert any(seconds_to_health() < 2 for _ in range(3))  # on a busy machine


def test_a_job_starts_at_once_and_an_idle_stack_costs_next_to_nothing_also_with_jobs_that_wait_for_a_human(
    tmp_path: Path,
) -> None:
    with running_stack(2, "--data", str(tmp_path)) as stack:
        wait_until(lambda: len(stack.crews()) == 2, within=60)
        waits = [wait_of_a_job(stack) for _ in range(8)]
        idle = wait_until(partial(idle_cpu, stack), within=90)
        wait_for_a_human(tmp_path, WAITING)
        with_waiting = wait_until(partial(idle_cpu, stack), within=90)
        assert Counter(stack.jobs().values()) == {"completed": len(waits), "waiting": WAITING}
    print(f"\na job starts after {min(waits) * 1000:.0f} ms (best of {len(waits)})")
    print(f"idle: {idle:.1%} of a core; with {WAITING:,} jobs that wait for a human: {with_waiting:.1%}")
    assert min(waits) < 0.05


def wait_for_a_human(folder: Path, jobs: int) -> None:
    database, now, policy = Database(folder / FILE), utcnow(), Policy()
    store = SqliteJobStore(database, utcnow)
    job_input, question = JobInput(crew="research", inputs=EXAMPLE), Question(message="Is it good?")
    for number in range(jobs):
        job = store.create(transitions.submit(f"job-{number}", "local", job_input, now, policy), job_input)
        running = transitions.claim(job, "me", "crew-1", now, policy)
        store.save(job, running)
        store.put_question(running, "d#0", question)
        store.save(running, transitions.wait(running, "d#0", now, now + policy.answer_within, policy))
    database.close()


def wait_of_a_job(stack: RunningStack) -> float:
    """Seconds from the acceptance of a job to its start."""
    job_id = stack.client.post("/crewai/run/async", json=EXAMPLE).raise_for_status().json()["job_id"]
    ended = wait_until(
        lambda: (job := stack.client.get(f"/crewai/status/{job_id}").json())["status"] == "completed" and job, within=30
    )
    times = {name: datetime.fromisoformat(at) for name, at in ended["timestamps"].items()}
    return (times["started_at"] - times["created_at"]).total_seconds()


def idle_cpu(stack: RunningStack) -> float | None:
    """None while it is busy; 1.0 to 1.4 % were measured."""
    return used if (used := cpu_while_idle(stack)) < 0.03 else None


def cpu_while_idle(stack: RunningStack) -> float:
    """Of one core, by all its processes; more while a crew process is still being started."""
    pids = [stack.process.pid, *children(stack.process.pid)]
    before = sum(map(cpu_of, pids))
    time.sleep(SECONDS)  # what is measured
    return (sum(map(cpu_of, pids)) - before) / SECONDS


def cpu_of(pid: int) -> float:
    """Seconds so far."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
