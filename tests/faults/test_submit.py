"""Faults on the way from the caller's request to the queue."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.policy import Policy
from tests.faults.bench import Bench, NewBench, alive
from tests.faults.functions import REQUEST, Functions
from tests.faults.injection import Fate, Write
from tests.support.waiting import wait_until

CALLS = 3  # that a research crew makes of a model that searches once
AT_ONCE = 500 if os.environ.get("FAULTS") == "long" else 60
SHORT = Policy(lease=timedelta(seconds=1))


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench(policy=SHORT)


@pytest.fixture
def functions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Functions:
    return Functions(bench, monkeypatch)


def swept_and_run(bench: Bench, functions: Functions, job_id: str) -> None:
    """Nobody has rung: the sweeper does, and the worker answers."""
    wait_until(lambda: functions.sweep().get("rung"), within=10)
    assert bench.engine.bells() == [job_id]
    assert functions.deliver(job_id) == []
    assert bench.status(job_id) is Status.COMPLETED
    assert len(bench.model.log()) == CALLS


def test_a_submission_that_dies_after_its_commit_is_rung_for_by_the_sweeper(bench: Bench, functions: Functions) -> None:
    pid = bench.submits("neural networks", Fate.KILLED_BEFORE, Write.RING)
    wait_until(lambda: not alive(pid), within=20)
    (job_id,) = bench.job_ids()
    assert bench.engine.bells() == []
    swept_and_run(bench, functions, job_id)


def test_a_ring_whose_reply_is_lost_starts_the_job_once(bench: Bench, functions: Functions) -> None:
    functions.faults.the_next(Fate.REPLY_LOST, Write.RING)
    answer = functions.post()
    assert answer.status_code == 202
    rung = bench.engine.bells()
    assert set(rung) == {answer.json()["job_id"]}
    assert len(rung) == min(2, bench.engine.tries)  # SQS, where it is tried again, has two
    assert functions.deliver(*rung, *rung) == []
    assert bench.status(rung[0]) is Status.COMPLETED
    assert len(bench.model.log()) == CALLS


def test_a_commit_whose_reply_is_lost_is_found_again_by_the_callers_key(bench: Bench, functions: Functions) -> None:
    functions.faults.the_next(Fate.REPLY_LOST, Write.CREATE, times=bench.engine.tries)
    lost = functions.post(key="one")
    assert (lost.status_code, lost.headers["Retry-After"]) == (503, "5")
    found = functions.post(key="one")
    assert found.status_code == 202
    assert bench.job_ids() == [found.json()["job_id"]]
    assert functions.deliver(*bench.engine.bells()) == []
    assert bench.status(found.json()["job_id"]) is Status.COMPLETED
    assert len(bench.model.log()) == CALLS


def test_the_same_key_with_another_body_is_refused_and_changes_nothing(bench: Bench, functions: Functions) -> None:
    first = functions.post(key="one")
    before = bench.engine.rows()
    for app in (functions.http, functions.inline):
        path = "/crewai/run/async" if app is functions.http else "/crewai/run"
        refused = app.post(path, json=REQUEST | {"topic": "another"}, headers={"Idempotency-Key": "one"})
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:crewrelay:problem:idempotency_conflict")
    assert bench.engine.rows() == before
    assert bench.engine.bells() == [first.json()["job_id"]]
    assert bench.model.log() == []


def test_many_at_once_with_one_key_are_one_job(bench: Bench, functions: Functions) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: functions.post(key="one"), range(AT_ONCE)))
    assert {answer.status_code for answer in answers} == {202}
    (job_id,) = bench.job_ids()
    assert {answer.json()["job_id"] for answer in answers} == {job_id}
    assert functions.deliver(*[job_id] * 10) == []
    assert bench.status(job_id) is Status.COMPLETED
    assert len(bench.model.log()) == CALLS


def test_a_refused_commit_is_503_and_leaves_nothing_behind(bench: Bench, functions: Functions) -> None:
    functions.faults.every(Fate.REFUSED, Write.INPUT, Write.CREATE)
    refused = functions.post(key="one")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert bench.engine.rows() == []
    assert bench.engine.bells() == []
    functions.faults.mend()
    job_id = functions.post(key="one").json()["job_id"]
    functions.deliver(job_id)
    assert bench.status(job_id) is Status.COMPLETED
    assert len(bench.model.log()) == CALLS


def test_with_the_queue_down_the_job_is_accepted_and_runs(bench: Bench, functions: Functions) -> None:
    functions.faults.every(Fate.REFUSED, Write.RING)
    answer = functions.post()
    assert answer.status_code == 202
    functions.faults.mend()
    swept_and_run(bench, functions, answer.json()["job_id"])
