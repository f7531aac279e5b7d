"""Answers that are too large for a row, indexes that are behind, writes that collide."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest

from crewrelay.aws import clients
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.system import utcnow
from tests.faults.bench import Bench, NewBench
from tests.faults.engines import ONLY_AWS, ONLY_SQLITE
from tests.faults.functions import REQUEST, Functions
from tests.faults.injection import Fate, Write
from tests.support.waiting import wait_until

CALLS = 3
SHORT = Policy(lease=timedelta(seconds=1))


def run(bench: Bench, functions: Functions) -> Job:
    job = bench.submit("neural networks", ring=False)
    assert functions.deliver(job) == []
    assert bench.status(job.id) is Status.COMPLETED
    return job


def test_an_answer_of_401_kb_is_in_the_status(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("--size", str(401 * 1024))
    functions = Functions(bench, monkeypatch)
    job = run(bench, functions)
    status = functions.http.get(f"/crewai/status/{job.id}").json()
    assert status["result"].startswith("About neural networks:")
    assert len(status["result"]) > 400 * 1024
    assert status["result_url"] is None
    assert len(bench.model.log()) == CALLS
    inline = functions.inline.post("/crewai/run", json=REQUEST)
    assert inline.json()["answer"] == status["result"]


@ONLY_SQLITE
def test_an_answer_of_3_mb_is_in_the_status_too(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("--size", "1000000", "--wide")
    functions = Functions(bench, monkeypatch)
    job = run(bench, functions)
    status = functions.http.get(f"/crewai/status/{job.id}").json()
    assert len(status["result"].encode()) > 2_900_000
    assert len(bench.model.log()) == CALLS
    inline = functions.inline.post("/crewai/run", json=REQUEST)
    assert inline.json()["answer"] == status["result"]


@ONLY_AWS
def test_an_answer_of_3_mb_is_where_the_status_says(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("--size", "1000000", "--wide")
    functions = Functions(bench, monkeypatch)
    job = run(bench, functions)
    status = functions.http.get(f"/crewai/status/{job.id}")
    assert len(status.content) < 10_000
    assert status.json()["result"] is None
    fetched = httpx.get(status.json()["result_url"]).json()
    assert fetched["text"].startswith("About neural networks:")
    assert len(fetched["text"].encode()) > 2_900_000
    assert len(bench.model.log()) == CALLS
    job_row = next(row for row in bench.engine.rows() if row["sk"]["S"] == "JOB")
    assert len(str(job_row)) < 2048
    inline = functions.inline.post("/crewai/run", json=REQUEST).json()
    assert inline["answer"] is None
    assert httpx.get(inline["answer_url"]).json() == fetched


@ONLY_AWS
def test_a_stale_index_rings_for_nobody(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench(policy=SHORT)
    functions = Functions(bench, monkeypatch)
    job = bench.submit("neural networks", ring=False)
    due_at = bench.job(job.id).due_at
    assert due_at
    stale = [{"pk": {"S": f"JOB#{job.id}"}, "sk": {"S": "JOB"}}, {"pk": {"S": "JOB#gone"}, "sk": {"S": "JOB"}}]

    def behind(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Items"] = [*parsed["Items"], *stale]

    functions.deliver(job)
    clients.dynamodb().meta.events.register("after-call.dynamodb.Query", behind)
    before = bench.engine.rows()
    assert functions.sweep().get("rung", 0) == 0
    assert bench.engine.rows() == before
    assert bench.engine.bells() == []
    assert len(bench.model.log()) == CALLS


def test_two_sweepers_at_once_start_nothing_twice(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(lease=timedelta(seconds=4))  # which ten runs on a busy machine keep
    bench = new_bench(policy=policy)
    functions = Functions(bench, monkeypatch)
    jobs = [bench.submit(f"topic {number}", ring=False) for number in range(10)]
    wait_until(lambda: all(job.due_at and job.due_at + policy.skew < utcnow() for job in jobs), within=20)
    with ThreadPoolExecutor(2) as pool:
        swept = [each.get("rung", 0) for each in pool.map(lambda _: functions.sweep(), range(2))]
    assert sum(swept) >= len(jobs)
    while bells := bench.engine.doorbell.receive(10):
        assert functions.deliver(*[bell["body"] for bell in bells]) == []
    transitions = bench.engine.transitions()
    for job in jobs:
        assert [step.after.status for step in transitions[job.id] if step.ends] == [Status.COMPLETED]
    assert len(bench.model.log()) == CALLS * len(jobs)


@ONLY_AWS
@pytest.mark.parametrize("write", [Write.SAVE, Write.PUT_CALL])
@pytest.mark.parametrize("passed", [0, 1, 2])
def test_a_write_that_collides_with_a_transaction_is_repeated(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch, write: Write, passed: int
) -> None:
    bench = new_bench(policy=SHORT)
    functions = Functions(bench, monkeypatch)
    job = bench.submit("neural networks", ring=False)
    functions.faults.after(passed, Fate.CONFLICTED, write, times=1)
    while not bench.status(job.id).finished:
        functions.deliver(job)
    assert bench.status(job.id) is Status.COMPLETED
    assert len(bench.model.log()) == CALLS
