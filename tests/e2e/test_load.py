"""Many jobs at once. The figures that the docs give are printed; what is asserted leaves room for noise.

`FAULTS=long` sends as many as those figures are of.
"""

import gzip
import json
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest

from crewrelay.aws import rows
from tests.e2e.stacks import ScriptedStack
from tests.support.models import ScriptedModel
from tests.support.processes import listening
from tests.support.stack import model_variables, running_stack
from tests.support.waiting import wait_until

LONG_FORM = os.environ.get("FAULTS") == "long"
JOBS = 200 if LONG_FORM else 20
CREWS = 2 if LONG_FORM else 1
DELAY = 2 if LONG_FORM else 1  # seconds that a call takes while the loop is watched
DRAIN_SECONDS = 10 + JOBS * 0.8  # 0.1 a job on an idle machine of two quick cores; some take four times as long


@pytest.fixture(scope="module")
def busy() -> Iterator[ScriptedStack]:
    """A stack whose model takes 0.3 s a call, three calls a crew."""
    with (
        listening("tests.support.doubles.model_server") as server,
        closing(ScriptedModel(server, "--delay", "0.3")) as model,
        running_stack(CREWS, "--aws", **model_variables(model)) as stack,
    ):
        yield ScriptedStack(stack, model)


def topic_of(item: Any) -> str:
    body = gzip.decompress(bytes(rows.plain(item)["body"]))
    return str(json.loads(body)["inputs"]["topic"])


def drained(client: httpx.Client, topics: dict[str, str]) -> None:
    """Wait until every job of {job id: topic} has completed with its own topic."""
    waiting = dict(topics)

    def none_left() -> bool:
        for job_id, topic in list(waiting.items()):
            job = client.get(f"/crewai/status/{job_id}").raise_for_status().json()
            if job["status"] not in ("completed", "failed"):
                return False
            assert job["status"] == "completed", job["error"]
            assert job["result"].startswith(f"About {topic}:")
            del waiting[job_id]
        return True

    wait_until(none_left, within=120, every=0.2)


def test_jobs_sent_at_once_all_complete(busy: ScriptedStack) -> None:
    client = busy.stack.client

    def submit(number: int) -> tuple[str, str]:
        topic = f"topic number {number}"
        response = client.post("/crewai/run/async", json={"topic": topic, "language": "en"})
        job_id: str = response.raise_for_status().json()["job_id"]
        return job_id, topic

    started = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        topics = dict(pool.map(submit, range(JOBS)))
    drained(client, topics)
    took = time.monotonic() - started
    print(f"\n{JOBS} async jobs drained in {took:.1f} s")
    assert took < DRAIN_SECONDS


def test_intake_messages_sent_at_once_all_complete(busy: ScriptedStack) -> None:
    stack = busy.stack
    sqs, queue_url = stack.aws("sqs"), stack.resource("IntakeQueue")
    table = stack.resource("JobsTable")
    topics = {f"intake number {number}" for number in range(JOBS)}
    bodies = [json.dumps({"topic": topic, "language": "en"}) for topic in sorted(topics)]
    started = time.monotonic()
    for first in range(0, JOBS, 10):
        batch = enumerate(bodies[first : first + 10])
        sqs.send_message_batch(
            QueueUrl=queue_url, Entries=[{"Id": str(index), "MessageBody": body} for index, body in batch]
        )

    def all_taken() -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        return all(counts[name] == "0" for name in names)

    wait_until(all_taken, within=60, every=0.5)
    # Nobody told us the ids of the jobs.
    pages = stack.aws("dynamodb").get_paginator("scan").paginate(TableName=table)
    inputs = [item for page in pages for item in page["Items"] if item["sk"]["S"] == "INPUT"]
    jobs = {item["pk"]["S"].removeprefix("JOB#"): topic_of(item) for item in inputs}
    found = {job_id: topic for job_id, topic in jobs.items() if topic in topics}
    assert len(found) == JOBS
    assert set(found.values()) == topics
    drained(stack.client, found)
    took = time.monotonic() - started
    print(f"\n{JOBS} intake messages drained in {took:.1f} s")
    assert took < DRAIN_SECONDS


def test_the_loop_is_never_blocked_while_runs_wait(busy: ScriptedStack) -> None:
    def health_p95(client: httpx.Client, until: float) -> float:
        taken: list[float] = []
        while time.monotonic() < until or len(taken) < 200:
            started = time.perf_counter()
            assert client.get("/health").status_code == 200
            taken.append(time.perf_counter() - started)
        return statistics.quantiles(taken, n=20)[-1]

    busy.model.script("--delay", str(DELAY))
    stack = busy.stack
    idle = health_p95(stack.client, time.monotonic() + DELAY)
    with ThreadPoolExecutor(8) as pool:
        body = {"topic": "neural networks", "language": "en"}
        runs = [pool.submit(httpx.post, f"{stack.url}/crewai/run", json=body, timeout=40) for _ in range(8)]
        loaded = health_p95(stack.client, time.monotonic() + 2.5 * DELAY)
        assert [run.result().status_code for run in runs] == [200] * 8
    print(f"\n/health p95: idle {idle * 1000:.1f} ms, with 8 inline runs {loaded * 1000:.1f} ms")
    assert loaded <= max(3 * idle, 0.1)  # a run that blocked it would do so for as long as a call
