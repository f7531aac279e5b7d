"""A crew of some calls, killed after each of its calls, and cut at each of its writes: before it, and in the long form
after it, where all is as before the next one.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest

from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.journal import Kind
from crewrelay.jobs.records.policy import Policy
from crewrelay.system import utcnow
from tests.faults.bench import Bench, NewBench, alive
from tests.faults.engines import LONG_FORM
from tests.faults.injection import WRITES, Fate, Write
from tests.support.fixtures import Figure
from tests.support.waiting import wait_until

CALLS, FATES = (6, (Fate.KILLED_BEFORE, Fate.KILLED_AFTER)) if LONG_FORM else (3, (Fate.KILLED_BEFORE,))
SEARCHES = CALLS - 2
ENTRIES = CALLS + SEARCHES
TOPIC = "neural networks"
# A life that ends between its entry and its receipt counts as one that got no further: here every one does.
POLICY = Policy(lease=timedelta(seconds=1), max_attempts=ENTRIES + 1)
# A renewal comes by the clock: in a run that has none, the n-th write is the same one every time.
UNRENEWED = Policy(lease=timedelta(seconds=15), max_attempts=ENTRIES + 1)


@pytest.fixture
def bench(new_bench: NewBench, request: pytest.FixtureRequest) -> Bench:
    return new_bench("--searches", str(SEARCHES), policy=getattr(request, "param", POLICY))


def live(bench: Bench, job: Job, caller: str, fate: Fate | None = None, nth: int = 1, *writes: Write) -> None:
    """One process's life, from bell to death."""
    pid = bench.invoke(job, caller, fate, nth, writes)
    wait_until(lambda: not alive(pid), within=60)


def undisturbed(bench: Bench) -> bytes:
    job = bench.submit(TOPIC, ring=False)
    live(bench, job, "undisturbed")
    assert bench.model.calls_by("caller")["undisturbed"] == CALLS
    return bench.answer(job.id)


def journaled(bench: Bench, job: Job) -> int:
    """Model calls that the journal holds."""
    return sum(call.kind is Kind.MODEL for call in bench.store.journal(job))


def nobody_holds(bench: Bench, job: Job) -> bool:
    until = bench.job(job.id).lease_until
    return until is None or until <= utcnow()


def test_killed_after_each_of_its_calls_it_pays_for_none_twice(bench: Bench, figure: Figure) -> None:
    expected = undisturbed(bench)
    job = bench.submit(TOPIC, ring=False)
    for number in range(ENTRIES):
        live(bench, job, "killed", Fate.KILLED_AFTER, 1, Write.PUT_CALL)  # the entry of its first new call
        assert len(list(bench.store.journal(job))) == number + 1
        wait_until(lambda: nobody_holds(bench, job), within=10)
    live(bench, job, "killed")
    assert bench.answer(job.id) == expected
    assert bench.model.calls_by("caller")["killed"] == CALLS
    receipt = bench.job(job.id).receipt
    assert (receipt.calls_paid, bench.job(job.id).attempts) == (CALLS, ENTRIES)  # the first is not held against it
    figure(
        f"{bench.engine.name}: killed {ENTRIES} times, after each call: {CALLS} of {CALLS} calls reached the model once"
    )


@pytest.mark.parametrize("bench", [UNRENEWED], indirect=True, ids=["unrenewed"])
def test_cut_at_any_write_only_a_call_that_was_not_yet_journaled_is_repeated(bench: Bench, figure: Figure) -> None:
    expected = undisturbed(bench)
    with ThreadPoolExecutor(len(FATES)) as pool:
        cuts = list(pool.map(lambda fate: cut_at_every_write(bench, fate), FATES))
    cut = {caller: job for jobs in cuts for caller, job in jobs.items()}
    paid = bench.model.calls_by("caller")
    repeated = {caller: paid[caller] - journaled(bench, job) for caller, job in cut.items()}
    owed = sum(CALLS - journaled(bench, job) for job in cut.values())

    bench.start("worker")
    bench.start("sweeper", SWEEP_SECONDS="1")  # the lease is long
    for job in cut.values():
        wait_until(lambda job=job: bench.job(job.id).status.finished, within=60)  # type: ignore[misc]
        assert bench.answer(job.id) == expected
        assert bench.job(job.id).receipt.calls_paid == CALLS
    assert bench.model.calls_by("caller").total() - paid.total() == owed
    assert set(repeated.values()) == {0, 1}
    assert sum(repeated.values()) == CALLS  # each was cut once between its reply and its entry
    figure(
        f"{bench.engine.name}: {len(cut)} cuts at {len(cuts[0])} writes: {sum(repeated.values())} calls repeated, "
        "answers identical"
    )


def cut_at_every_write(bench: Bench, fate: Fate) -> dict[str, Job]:
    """A job for each write of a run, cut there; by the name under which it called the model."""
    jobs: dict[str, Job] = {}
    for nth in count(1):
        job, caller = bench.submit(TOPIC, ring=False), f"{fate}-{nth}"
        live(bench, job, caller, fate, nth, *WRITES)
        jobs[caller] = job
        if bench.job(job.id).status is Status.COMPLETED:
            break
        assert nth < 100
    if fate is Fate.KILLED_BEFORE:
        del jobs[f"{fate}-{len(jobs)}"]  # a run has no so-manieth write
    return jobs
