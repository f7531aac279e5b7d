"""Workers under random kill -9: nothing lost, nothing done twice, nothing paid twice but what was under way."""

import os
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import NamedTuple

import pytest

from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.policy import Policy
from tests.faults.bench import Bench, NewBench, kill
from tests.support.fixtures import Figure

LONG_FORM = os.environ.get("FAULTS") == "long"
JOBS = 200 if LONG_FORM else 12  # a round; each has a fresh engine, so that the emulator is not what is measured
ROUNDS = 10 if LONG_FORM else 1
CALLS = 3
WORKERS = 3
CALLS_BETWEEN_KILLS = (10, 40) if LONG_FORM else (4, 12)  # by all workers; time would not say how far they got
POLICY = Policy(lease=timedelta(seconds=4 if LONG_FORM else 2))


class Killer(threading.Thread):
    """Kills a worker now and then, and starts another in its place."""

    def __init__(self, bench: Bench, seed: int) -> None:
        super().__init__(name="killer", daemon=True)
        self.killed: list[str] = []  # by the names under which they called the model
        self._bench = bench
        self._random = random.Random(seed)
        self._enough = threading.Event()

    def run(self) -> None:
        workers = [self._bench.start("worker") for _ in range(WORKERS)]
        while self._wait_for_calls():
            victim = workers.pop(self._random.randrange(WORKERS))
            kill(victim.pid)
            self.killed.append(victim.caller)
            workers.append(self._bench.start("worker"))

    def _wait_for_calls(self) -> bool:
        """Whether to go on."""
        enough = self._bench.model.calls() + self._random.randint(*CALLS_BETWEEN_KILLS)
        while self._bench.model.calls() < enough and not self._enough.wait(0.2):
            pass
        return not self._enough.is_set()

    def stop(self) -> None:
        self._enough.set()
        self.join()


class Round(NamedTuple):
    kills: int
    in_mid_call: int
    takeovers: int
    paid: int


@pytest.mark.parametrize("number", range(ROUNDS))
def test_jobs_survive_workers_that_are_killed(new_bench: NewBench, figure: Figure, number: int) -> None:
    bench = new_bench("--searches", str(CALLS - 2), "--delay", "0.3", policy=POLICY)
    done = survived(bench, number)
    figure(
        f"{bench.engine.name}: {JOBS} jobs, {done.kills} workers killed, {done.in_mid_call} in mid-call: 0 lost, each "
        f"ended once, 0 late commits, {done.takeovers} taken over, {done.paid} calls paid of {JOBS * CALLS} needed"
    )
    assert done.kills > 0
    assert done.in_mid_call > 0 or not LONG_FORM  # on a busy machine few calls are under way at any time


def survived(bench: Bench, seed: int) -> Round:
    topics = [f"topic number {number} of {seed}" for number in range(JOBS)]
    with ThreadPoolExecutor(8) as pool:
        jobs = dict(zip(topics, pool.map(lambda topic: bench.submit(topic).id, topics), strict=True))
    bench.start("sweeper")
    killer = Killer(bench, seed)
    killer.start()
    try:
        bench.wait_for_all(jobs.values(), within=400)
    finally:
        killer.stop()
    return accounted(bench, jobs, killer)


def accounted(bench: Bench, jobs: dict[str, str], killer: Killer) -> Round:
    transitions, log = bench.engine.transitions(), bench.model.log()
    paid = Counter(str(call["topic"]) for call in log)
    takeovers = 0
    for topic, job_id in jobs.items():
        story = transitions[job_id]
        assert story[-1].after.status is Status.COMPLETED, story[-1].after.error
        assert sum(step.ends for step in story) == 1
        assert all(step.is_lawful for step in story)  # a zombie's commit is not
        taken_over = sum(step.takes_over for step in story)
        assert CALLS <= paid[topic] <= CALLS + taken_over
        takeovers += taken_over
        assert f"About {topic}:" in bench.answer(job_id).decode()
    cut = {call["caller"] for call in log if call["cut"]}
    return Round(len(killer.killed), len(cut & set(killer.killed)), takeovers, len(log))
