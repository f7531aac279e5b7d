"""A job that kills its process, among healthy ones: it is found out, and they are not blamed for it."""

import os
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.policy import Policy
from tests.faults.bench import Bench, NewBench, alive
from tests.faults.engines import ONLY_SQLITE
from tests.support.fixtures import Figure
from tests.support.waiting import wait_until

HEALTHY = 9
CALLS = 3
POISON = "poison"
# In the long form the shipped number of attempts.
LONG_FORM = os.environ.get("FAULTS") == "long"
POLICY = Policy(lease=timedelta(seconds=1), max_attempts=Policy().max_attempts if LONG_FORM else 2)


def kept_alive_until_all_have_ended(bench: Bench, job_ids: Iterable[str]) -> int:
    """A worker, and another one whenever it has died; how many died."""
    running, deaths = list(job_ids), 0
    worker = bench.start("worker", POISON=POISON)

    def none_left() -> bool:
        nonlocal worker, deaths
        if not alive(worker.pid):
            worker, deaths = bench.start("worker", POISON=POISON), deaths + 1
        while running and bench.status(running[-1]).finished:
            running.pop()
        return not running

    wait_until(none_left, within=120, every=0.2)
    return deaths


@ONLY_SQLITE
def test_a_job_that_kills_its_process_is_found_out_and_its_neighbours_are_not_blamed(
    new_bench: NewBench, figure: Figure
) -> None:
    bench = new_bench("--delay", "0.3", policy=POLICY)
    topics = [POISON, *(f"topic number {number}" for number in range(HEALTHY))]
    jobs: dict[str, str] = {topic: bench.submit(topic).id for topic in topics}
    bench.start("sweeper", SWEEP_SECONDS="0.3")
    deaths = kept_alive_until_all_have_ended(bench, jobs.values())
    paid = Counter(str(call["topic"]) for call in bench.model.log())
    poison = bench.job(jobs.pop(POISON))
    ended = Counter(bench.status(job_id) for job_id in jobs.values())
    calls = sum(paid[topic] for topic in jobs)
    figure(
        f"a job that kills its process among {HEALTHY} healthy ones of {CALLS} calls: "
        f"{deaths} processes died, {ended[Status.COMPLETED]} of {HEALTHY} completed, {calls} calls paid of "
        f"{HEALTHY * CALLS} needed"
    )
    assert poison.status is Status.FAILED
    assert poison.error
    assert poison.error.type == "attempts_exhausted"
    assert ended == {Status.COMPLETED: HEALTHY}
    assert all(paid[topic] <= CALLS + 1 for topic in jobs)
    assert deaths == 1 + POLICY.max_attempts  # in company, and then alone
    assert {bench.job(job_id).attempts for job_id in jobs.values()} == {1}
