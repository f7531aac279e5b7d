"""Workers that die, hang, come back late, lose their lease, or run out of time."""

import os
import signal
import threading
from collections import Counter
from datetime import datetime, timedelta

import pytest

from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.execution import Execution
from crewrelay.system import new_id, utcnow
from crewrelay.testing import MemoryDoorbell
from tests.faults.bench import Bench, NewBench, alive, kill
from tests.faults.engines import AWS_AT_LEAST, SQLITE_AT_LEAST
from tests.faults.functions import Functions
from tests.faults.injection import Fate, Write
from tests.support.waiting import wait_until

CALLS = 3
SHORT = Policy(lease=timedelta(seconds=1), max_attempts=3)


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench("--delay", "0.7", policy=SHORT)


def in_mid_call(bench: Bench, call: int = 1) -> bool:
    """The model has been asked for the n-th time and has not answered yet, for it takes its time."""
    return len(bench.model.log()) == call


def dead(pid: int) -> bool:
    return not alive(pid)


def finished_by_another(bench: Bench, job: Job) -> None:
    """The sweeper rings, another worker answers; there is one end, and only lawful steps led to it."""
    processes = [bench.start("sweeper"), bench.start("worker")]
    wait_until(lambda: bench.status(job.id).finished, within=60)
    for process in processes:
        kill(process.pid)
    assert bench.status(job.id) is Status.COMPLETED
    assert_lawful(bench, job)


def assert_lawful(bench: Bench, job: Job) -> None:
    story = bench.engine.transitions()[job.id]
    assert all(step.is_lawful for step in story)
    assert sum(step.ends for step in story) == 1


@AWS_AT_LEAST
def test_killed_before_its_claim(bench: Bench) -> None:
    job = bench.submit("neural networks", ring=False)
    pid = bench.invoke(job, "killed", Fate.KILLED_BEFORE, 1, (Write.SAVE,))
    wait_until(lambda: dead(pid), within=20)
    assert bench.job(job.id).fence == 0
    finished_by_another(bench, job)
    assert len(bench.model.log()) == CALLS


@SQLITE_AT_LEAST
def test_killed_in_mid_call(bench: Bench) -> None:
    job = bench.submit("neural networks", ring=False)
    pid = bench.invoke(job, "killed")
    wait_until(lambda: in_mid_call(bench, 2), within=20)
    kill(pid)
    finished_by_another(bench, job)
    assert len(bench.model.log()) == CALLS + 1


def test_killed_after_its_commit_before_the_message_is_deleted(bench: Bench) -> None:
    job = bench.submit("neural networks")
    worker = bench.start("worker", Fate.KILLED_BEFORE, (Write.DELETE,))
    wait_until(lambda: dead(worker.pid), within=30)
    assert bench.status(job.id) is Status.COMPLETED
    before = bench.engine.rows()
    pid = bench.invoke(job, "again")
    wait_until(lambda: dead(pid), within=20)
    assert bench.engine.rows() == before
    assert len(bench.model.log()) == CALLS
    assert_lawful(bench, job)


@AWS_AT_LEAST
def test_a_zombie_that_wakes_after_its_lease_commits_nothing(bench: Bench) -> None:
    job = bench.submit("neural networks", ring=False)
    zombie = bench.invoke(job, "zombie")
    wait_until(lambda: in_mid_call(bench), within=20)
    os.kill(zombie, signal.SIGSTOP)
    finished_by_another(bench, job)
    answer = bench.answer(job.id)
    os.kill(zombie, signal.SIGCONT)
    wait_until(lambda: dead(zombie), within=20)
    assert bench.answer(job.id) == answer
    assert_lawful(bench, job)
    assert len(bench.model.log()) == CALLS + 1


@SQLITE_AT_LEAST
def test_one_heartbeat_that_fails_costs_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = Functions(bench, monkeypatch)
    job = bench.submit("neural networks", ring=False)
    functions.faults.after(2, Fate.REFUSED, Write.SAVE, times=bench.engine.tries)  # claim and first task go well
    functions.deliver(job)
    assert bench.status(job.id) is Status.COMPLETED
    assert bench.job(job.id).attempts == 1
    assert len(bench.model.log()) == CALLS


@AWS_AT_LEAST
def test_heartbeats_that_fail_past_the_lease_stop_the_run_and_lose_no_reply(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench("--delay", "2", policy=SHORT)
    functions = Functions(bench, monkeypatch)
    job = bench.submit("neural networks", ring=False)
    functions.faults.after(2, Fate.REFUSED, Write.SAVE, times=1000)
    functions.deliver(job)
    functions.faults.mend()
    assert len(bench.model.log()) == 1
    assert len(list(bench.store.journal(job))) == 1  # the lease was gone, but it was paid for
    finished_by_another(bench, job)
    assert len(bench.model.log()) == CALLS


@SQLITE_AT_LEAST
def test_near_its_timeout_it_relays_and_the_next_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = Functions(bench, monkeypatch)
    job = bench.submit("neural networks", ring=False)
    lives = 0
    while not bench.status(job.id).finished:
        lives += 1
        assert lives <= 20  # on a busy machine some end before the first call
        assert functions.deliver(job, seconds=30 + 1.5) == []  # 30 s of an invocation are kept for giving back
    done = bench.job(job.id)
    assert (done.status, done.relays) == (Status.COMPLETED, lives - 1)
    assert done.relays >= 1
    assert len(bench.model.log()) == CALLS
    assert_lawful(bench, job)


@AWS_AT_LEAST
def test_while_one_hangs_the_places_of_the_others_go_to_what_waits_in_the_queue(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench("--statuses", "hang", CREWRELAY_MODEL_TIMEOUT="4")
    functions = Functions(bench, monkeypatch)
    delivered = [bench.submit(f"delivered {number}", ring=False) for number in range(2)]
    waiting = [bench.submit(f"waiting {number}") for number in range(3)]
    assert functions.deliver(*delivered) == []
    ended = Counter(bench.status(job.id) for job in [*delivered, *waiting])
    assert ended == {Status.COMPLETED: 4, Status.PENDING: 1}  # the one that hung is to be tried again
    assert bench.engine.count_bells() == 0


@SQLITE_AT_LEAST
def test_late_in_an_invocation_nothing_more_is_taken(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("--statuses", "hang", CREWRELAY_MODEL_TIMEOUT="4")
    functions = Functions(bench, monkeypatch)
    delivered = [bench.submit(f"delivered {number}", ring=False) for number in range(2)]
    waiting = bench.submit("waiting")
    functions.deliver(*delivered, seconds=30)  # all of which are kept for giving back
    assert bench.job(waiting.id).fence == 0


@SQLITE_AT_LEAST
@pytest.mark.parametrize(("first", "second"), [(-5, 5), (5, -5)])
def test_clocks_that_differ_by_ten_seconds_pay_for_nothing_twice(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch, first: int, second: int
) -> None:
    bench = new_bench("--delay", "0.7")  # at the shipped lease of a minute
    functions = Functions(bench, monkeypatch)
    job = bench.submit("neural networks", ring=False)
    runner = functions.worker.execution

    def at(skew: int) -> Clock:
        def clock() -> datetime:
            return utcnow() + timedelta(seconds=skew)

        return clock

    def execution(skew: int) -> Execution:
        return Execution(
            bench.engine.store(at(skew)), MemoryDoorbell(), runner._crew, at(skew), new_id, lambda: 0.5, bench.policy
        )

    deadline = utcnow() + timedelta(minutes=5)
    running = threading.Thread(target=lambda: execution(first).run(job.id, deadline))
    running.start()
    wait_until(lambda: in_mid_call(bench), within=20)
    while running.is_alive():
        execution(second).run(job.id, deadline)
    running.join()
    assert bench.status(job.id) is Status.COMPLETED
    assert bench.job(job.id).fence == 1
    assert len(bench.model.log()) == CALLS


@SQLITE_AT_LEAST
def test_a_job_that_kills_its_worker_every_time_fails_in_the_end(bench: Bench) -> None:
    job = bench.submit("neural networks", ring=False)
    deaths = 1 + SHORT.max_attempts  # the first one might have been a neighbour's fault
    for attempt in range(1, deaths + 1):
        pid = bench.invoke(job, "killed")
        wait_until(lambda attempt=attempt: in_mid_call(bench, attempt), within=20)  # type: ignore[misc]
        kill(pid)
        wait_until(lambda: (bench.job(job.id).lease_until or utcnow()) <= utcnow(), within=10)
    processes = [bench.start("sweeper"), bench.start("worker")]
    wait_until(lambda: bench.status(job.id).finished, within=20)
    for process in processes:
        kill(process.pid)
    failed = bench.job(job.id)
    assert failed.status is Status.FAILED
    assert failed.error
    assert failed.error.type == "attempts_exhausted"
    assert_lawful(bench, job)
    assert len(bench.model.log()) == deaths


@AWS_AT_LEAST
def test_cancelled_while_it_runs_it_makes_no_further_call(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = Functions(bench, monkeypatch)
    job_id = functions.post().json()["job_id"]
    pid = bench.invoke(bench.job(job_id), "cancelled")
    wait_until(lambda: in_mid_call(bench), within=20)
    assert functions.http.post(f"/crewai/jobs/{job_id}/cancel").json()["status"] == "cancelled"
    wait_until(lambda: dead(pid), within=20)
    assert bench.status(job_id) is Status.CANCELLED
    assert_lawful(bench, bench.job(job_id))
    assert len(bench.model.log()) == 1
