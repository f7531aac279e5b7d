"""After a kill the job goes on within a lease and a sweep, not after the queue's visibility timeout."""

import os
import time
from datetime import timedelta

import pytest

from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.local.resources import load_template
from crewrelay.local.stack import TEMPLATE
from tests.faults.bench import Bench, NewBench, kill
from tests.support.fixtures import Figure
from tests.support.waiting import wait_until

SHIPPED = Policy()
SHORT = Policy(lease=timedelta(seconds=2))
LONG_FORM = os.environ.get("FAULTS") == "long"


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(SHORT, id="short"),
        pytest.param(SHIPPED, id="shipped", marks=pytest.mark.skipif(not LONG_FORM, reason="takes minutes")),
    ],
)
def test_a_killed_workers_jobs_go_on_within_a_lease_and_a_sweep(
    new_bench: NewBench, figure: Figure, policy: Policy
) -> None:
    visibility = load_template(TEMPLATE)["Resources"]["JobQueue"]["Properties"]["VisibilityTimeout"]
    lease = policy.lease.total_seconds()
    allowed = 2 * lease + 4  # it is swept once in a lease; a new process starts
    bench = new_bench("--delay", "0.5", policy=policy)
    bench.start("sweeper")
    bench.start("worker")
    took = [recovery(bench, f"topic {number}") for number in range(3 if LONG_FORM else 1)]
    seconds = ", ".join(f"{one:.1f}" for one in sorted(took))
    figure(
        f"{bench.engine.name}: recovered {seconds} s after a kill; lease and sweep {lease:g} s each; "
        f"SQS alone: {visibility} s"
    )
    assert max(took) <= allowed


def recovery(bench: Bench, topic: str) -> float:
    """Seconds from the kill of a worker in mid-call to the claim of its job by the one that is left."""
    job = bench.submit(topic, ring=False)
    pid = bench.invoke(job, "killed")
    wait_until(lambda: bench.model.calls_by("topic")[topic] > 0, within=20)
    kill(pid)
    killed = time.monotonic()
    wait_until(lambda: taken_over(bench, job), within=bench.policy.lease.total_seconds() * 4)
    took = time.monotonic() - killed
    wait_until(lambda: bench.status(job.id) is Status.COMPLETED, within=60)
    return took


def taken_over(bench: Bench, job: Job) -> bool:
    return bench.job(job.id).fence > 1
