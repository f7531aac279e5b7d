"""Ringing again for what is overdue, and ending what nothing will come of: at any time, twice at once too."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest

from crewrelay.jobs.errors import DamagedJob, ServiceRefused, StaleWrite, Unavailable
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.policy import Budget, Policy
from crewrelay.jobs.sweeper import Sweeper, Swept
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock

POLICY = Policy(max_attempts=3, budget=Budget(runtime=timedelta(hours=2)))
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
FAILURE = Failure(type="TimeoutError", message="The model did not answer.", retryable=True)
TIMEOUT = 10  # seconds until a test that hangs gives up


class Table(MemoryJobStore):
    """Something may happen between a look and the write that follows, and the index may be behind."""

    after_load: Callable[[], None] = staticmethod(lambda: None)
    stale_index: tuple[str, ...] = ()

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        record = super().load(job_id, tenant)
        self.after_load()
        return record

    def due(self, status: Status, moment: datetime) -> Iterator[str]:
        yield from (self.stale_index if status is Status.RUNNING else ()) or super().due(status, moment)


class Office:
    """A table of jobs, a bell, and who sweeps."""

    def __init__(self, clock: HandSetClock) -> None:
        self.clock = clock
        self.table = Table(clock)
        self.doorbell = MemoryDoorbell()
        self.sweeper = Sweeper(self.table, self.doorbell, clock, POLICY)

    def submit(self, job_id: str = "an-id") -> Job:
        return self.table.create(transitions.submit(job_id, "acme", INPUT, self.clock(), POLICY), INPUT)

    def claim(self, job_id: str = "an-id") -> Job:
        before = self.job(job_id)
        return self.saved(before, transitions.claim(before, "a worker", "crew-1", self.clock(), POLICY))

    def saved(self, before: Job, after: Job) -> Job:
        self.table.save(before, after)
        return after

    def job(self, job_id: str = "an-id") -> Job:
        record = MemoryJobStore.load(self.table, job_id)
        assert record is not None
        return record.job

    def sweep(self, seconds: float = 60) -> Counter[Swept]:
        return self.sweeper.sweep(self.clock() + timedelta(seconds=seconds))


@pytest.fixture
def office(clock: HandSetClock) -> Office:
    return Office(clock)


def test_a_job_whose_bell_was_lost_is_rung_for_and_looked_at_again_later(office: Office) -> None:
    office.submit()
    office.clock.pass_(minutes=2)
    assert office.sweep() == {Swept.RUNG: 1}
    assert office.sweep() == {}  # not twice in a row
    assert office.doorbell.rings == ["an-id"]
    office.clock.pass_(minutes=15)
    assert office.sweep() == {Swept.RUNG: 1}


@pytest.mark.parametrize(("seconds", "rung"), [(94, False), (95, True)])
def test_a_job_is_due_once_a_clock_that_is_behind_finds_it_so_too(office: Office, seconds: int, rung: bool) -> None:
    office.submit()  # due after 90 s; clocks may differ by 5 s
    office.clock.pass_(seconds=seconds)
    office.sweep()
    assert office.doorbell.rings == ["an-id"] * rung


def test_a_dead_workers_job_is_rung_for_and_not_claimed(office: Office) -> None:
    office.submit()
    running = office.claim()
    office.clock.pass_(minutes=2)
    assert office.sweep() == {Swept.RUNG: 1}
    job = office.job()
    assert (job.status, job.fence, job.holder, job.lease_until) == (
        Status.RUNNING,
        running.fence,
        running.holder,
        running.lease_until,
    )
    assert transitions.claimable(job, office.clock())


def test_a_live_workers_job_is_left_alone(office: Office) -> None:
    office.submit()
    office.clock.pass_(minutes=2)
    office.claim()
    assert office.sweep() == {}


def test_a_job_that_backs_off_is_not_rung_for_before_its_time(office: Office) -> None:
    office.submit()
    running = office.claim()
    until = office.clock() + timedelta(minutes=8)
    office.saved(running, transitions.back_off(running, FAILURE, office.clock(), until, POLICY))
    office.clock.pass_(minutes=8)
    assert office.sweep() == {}
    office.clock.pass_(minutes=2)
    assert office.sweep() == {Swept.RUNG: 1}


@pytest.mark.parametrize("claimed", [False, True], ids=["never started", "started"])
def test_a_job_past_its_end_is_ended_with_the_reason(office: Office, claimed: bool) -> None:
    office.submit()
    if claimed:
        office.claim()
    office.clock.pass_(hours=24)
    assert office.sweep() == {Swept.ENDED: 1}
    job = office.job()
    assert (job.status, job.due_at, job.finished_at) == (Status.FAILED, None, office.clock())
    assert job.error is not None
    assert job.error.type == "overdue"
    assert office.doorbell.rings == []
    assert office.sweep() == {}


def test_a_job_that_gets_no_further_is_ended_and_who_comes_back_late_is_refused(office: Office) -> None:
    office.submit()
    for _ in range(1 + POLICY.max_attempts):  # the first is not held against it
        late = office.claim()
        office.clock.pass_(minutes=2)
    assert office.sweep() == {Swept.ENDED: 1}
    error = office.job().error
    assert error is not None
    assert error.type == "attempts_exhausted"
    with pytest.raises(StaleWrite):
        office.saved(late, transitions.complete(late, office.clock()))


def test_a_bell_that_fails_is_rung_by_a_later_sweep(office: Office) -> None:
    office.submit()
    office.clock.pass_(minutes=2)
    office.doorbell.out_of_order = True
    office.sweep()
    assert office.job().status is Status.PENDING
    office.doorbell.out_of_order = False
    office.clock.pass_(minutes=15)
    office.sweep()
    assert office.doorbell.rings == ["an-id"]


# ---- an index that is behind, and rivals


def test_what_the_index_says_of_jobs_that_moved_on_is_left(office: Office) -> None:
    for job_id in ("fresh", "running", "cancelled"):
        office.submit(job_id)
    office.claim("running")
    office.saved(office.job("cancelled"), transitions.cancel(office.job("cancelled"), office.clock()))
    before = {job_id: office.job(job_id) for job_id in ("fresh", "running", "cancelled")}
    office.table.stale_index = ("never there", *before)
    assert office.sweep() == {Swept.LEFT: 4}
    assert {job_id: office.job(job_id) for job_id in before} == before
    assert office.doorbell.rings == []


@pytest.mark.parametrize(("seconds", "what"), [(89, Swept.LEFT), (90, Swept.RUNG)])
def test_a_job_is_looked_at_from_the_moment_on_that_it_is_due(office: Office, seconds: int, what: Swept) -> None:
    office.table.stale_index = (office.submit().id,)
    office.clock.pass_(seconds=seconds)
    assert office.sweep() == {what: 1}


@pytest.mark.parametrize("hours", [0.1, 24], ids=["due", "overdue"])
def test_a_job_that_is_cancelled_under_the_sweepers_hands_is_left(office: Office, hours: float) -> None:
    job = office.submit()
    office.clock.pass_(hours=hours)
    office.table.after_load = lambda: MemoryJobStore.save(office.table, job, transitions.cancel(job, office.clock()))
    assert office.sweep() == {Swept.LEFT: 1}
    assert office.job().status is Status.CANCELLED
    assert office.doorbell.rings == []


def test_a_stalled_job_whose_holder_renews_in_time_is_left_to_it(office: Office) -> None:
    office.submit()
    for _ in range(1 + POLICY.max_attempts):  # the first is not held against it
        holder = office.claim()
        office.clock.pass_(minutes=2)
    renewed = transitions.renew(holder, office.clock(), POLICY)
    office.table.after_load = lambda: MemoryJobStore.save(office.table, holder, renewed)
    assert office.sweep() == {Swept.LEFT: 1}
    assert office.job() == renewed


def test_two_sweepers_at_once_end_a_job_once_and_ring_at_least_once(office: Office) -> None:
    office.submit("overdue")
    office.clock.pass_(hours=24)
    office.submit("due")
    office.clock.pass_(minutes=2)
    together = Barrier(2)  # both have looked before either writes

    def meet() -> None:
        together.wait(TIMEOUT)

    office.table.after_load = meet
    with ThreadPoolExecutor(2) as pool:
        for job_id in ("due", "overdue"):
            office.table.stale_index = (job_id,)
            list(pool.map(lambda _: office.sweep(), range(2)))
    assert set(office.doorbell.rings) == {"due"}
    assert office.job("due").status is Status.PENDING
    assert (office.job("overdue").status, office.job("overdue").fence) == (Status.FAILED, 1)


# ---- many


def test_every_job_that_is_due_is_looked_at_once(office: Office) -> None:
    for n in range(50):
        office.submit(f"job {n}")
    office.clock.pass_(minutes=2)
    assert office.sweep() == {Swept.RUNG: 50}
    assert sorted(office.doorbell.rings) == sorted(f"job {n}" for n in range(50))


def test_at_the_deadline_a_sweep_stops_and_the_next_one_goes_on(office: Office) -> None:
    for n in range(50):
        office.submit(f"job {n}")
    office.clock.pass_(minutes=2)
    assert office.sweep(seconds=0) == {}
    deadline = office.clock() + timedelta(seconds=1)
    office.table.after_load = lambda: setattr(office.clock, "now", deadline)  # during the first look
    first = office.sweeper.sweep(deadline)[Swept.RUNG]
    assert 0 < first < 50
    assert office.sweep() == {Swept.RUNG: 50 - first}
    assert sorted(office.doorbell.rings) == sorted(f"job {n}" for n in range(50))


def test_a_job_that_can_not_be_looked_at_does_not_stop_the_sweep(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [office.submit(f"job {number}").id for number in range(40)]
    office.clock.pass_(minutes=2)
    load = office.table.load

    def broken(job_id: str) -> Any:
        if job_id == jobs[0]:
            raise KeyError("INPUT")
        return load(job_id)

    monkeypatch.setattr(office.table, "load", broken)
    assert office.sweep() == {Swept.RUNG: 39, Swept.FAILED: 1}
    assert set(office.doorbell.rings) == set(jobs[1:])


@pytest.mark.parametrize("claimed", [False, True], ids=["pending", "running"])
@pytest.mark.parametrize("error", [DamagedJob("gone"), ServiceRefused("no"), KeyError("INPUT")], ids=repr)
def test_a_job_that_can_not_be_loaded_ends_at_its_age_with_the_reason(
    office: Office, monkeypatch: pytest.MonkeyPatch, error: Exception, claimed: bool
) -> None:
    office.submit()
    if claimed:
        office.claim()

    def fail(_: str) -> Any:
        raise error

    monkeypatch.setattr(office.table, "load", fail)
    office.clock.pass_(hours=24)
    assert office.sweep() == {Swept.FAILED: 1}
    office.clock.pass_(minutes=2)
    assert office.sweep() == {Swept.ENDED: 1}
    job = office.job()
    assert (job.status, job.due_at, job.finished_at) == (Status.FAILED, None, office.clock())
    assert job.error
    assert job.error.type == getattr(error, "code", "damaged_job")
    assert office.sweep() == {}


def test_a_job_that_was_retried_days_later_has_its_whole_age_before_it_ends_unread(office: Office) -> None:
    office.submit()
    running = office.claim()
    failed = office.saved(running, transitions.fail(running, FAILURE, office.clock()))
    office.clock.pass_(days=3)
    office.saved(failed, transitions.retry(failed, office.clock(), POLICY))
    office.table.damaged.add("an-id")
    office.clock.pass_(hours=23)
    assert office.sweep() == {Swept.FAILED: 1}
    office.clock.pass_(hours=2)
    assert office.sweep() == {Swept.ENDED: 1}


# ---- a backlog


def test_a_lost_lease_comes_before_any_backlog(office: Office) -> None:
    for number in range(50):
        office.submit(f"job {number}")
    office.submit("crashed")
    office.claim("crashed")
    office.clock.pass_(minutes=2)
    deadline = office.clock() + timedelta(seconds=1)
    office.table.after_load = lambda: setattr(office.clock, "now", deadline)  # there is time for the first look only
    office.sweeper.sweep(deadline)
    assert office.doorbell.rings[0] == "crashed"


@pytest.mark.parametrize(("depth", "rung"), [(0, 50), (POLICY.enough_bells - 20, 20), (POLICY.enough_bells, 0)])
def test_pending_jobs_are_rung_for_only_until_the_queue_has_enough(office: Office, depth: int, rung: int) -> None:
    for number in range(50):
        office.submit(f"job {number}")
    office.clock.pass_(minutes=2)
    office.doorbell.depth = depth
    office.sweep()
    assert len(office.doorbell.rings) == rung


def test_behind_a_deep_queue_lost_leases_are_rung_for_and_jobs_past_their_age_end(office: Office) -> None:
    office.submit("old")
    office.clock.pass_(hours=24)
    office.submit("crashed")
    office.claim("crashed")
    office.submit("waiting")
    office.clock.pass_(minutes=2)
    office.doorbell.depth = 1_000_000
    assert office.sweep() == {Swept.RUNG: 1, Swept.ENDED: 1}
    assert office.doorbell.rings == ["crashed"]
    assert office.job("old").status is Status.FAILED


def test_a_queue_that_does_not_say_how_deep_it_is_stops_no_takeover(office: Office) -> None:
    office.submit("crashed")
    office.claim("crashed")
    office.submit("waiting")
    office.clock.pass_(minutes=2)
    office.doorbell.out_of_order = True
    assert office.sweep() == {Swept.RUNG: 1}


def test_an_index_that_does_not_answer_is_raised(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise Unavailable("The table did not answer.")

    monkeypatch.setattr(office.table, "due", fail)
    with pytest.raises(Unavailable):
        office.sweep()
