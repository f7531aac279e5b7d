"""Which failed jobs may be tried again, and how often a change of one is tried."""

from datetime import timedelta

import pytest

from crewrelay.jobs.errors import JobFinished, StaleWrite, TooManyJobs, Unavailable
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})


class Table(MemoryJobStore):
    """Counts the writes, which it may refuse."""

    refuses = False
    writes = 0

    def save(self, before: Job, after: Job) -> None:
        self.writes += 1
        if self.refuses:
            raise StaleWrite("the job moved on")
        super().save(before, after)


@pytest.fixture
def table(clock: HandSetClock) -> Table:
    return Table(clock)


def failed(table: Table, clock: HandSetClock, *, capped: bool = True) -> None:
    """A job that failed a moment after it was submitted."""
    job = transitions.submit("an-id", "acme", INPUT, clock(), POLICY, capped=capped)
    table.create(job, INPUT)
    running = transitions.claim(job, "me", "crew-1", clock(), POLICY)
    table.save(job, running)
    table.save(running, transitions.fail(running, Failure(type="no", message="no"), clock()))
    table.writes = 0


def desk(table: Table, clock: HandSetClock, most_unfinished: int | None = None) -> Intervention:
    return Intervention(table, MemoryDoorbell(), clock, POLICY, most_unfinished)


def test_a_job_that_could_expire_before_it_had_ended_again_is_not_retried(table: Table, clock: HandSetClock) -> None:
    failed(table, clock)
    clock.now += POLICY.keep - POLICY.max_age + timedelta(seconds=1)
    with pytest.raises(JobFinished, match="too old"):
        desk(table, clock).retry("acme", "an-id")
    assert table.writes == 0
    clock.pass_(seconds=-1)
    assert desk(table, clock).retry("acme", "an-id").job.status is Status.PENDING


@pytest.mark.parametrize("capped", [False, True])
def test_the_cap_holds_for_the_jobs_that_count_towards_it(table: Table, clock: HandSetClock, capped: bool) -> None:
    failed(table, clock, capped=capped)
    table.create(transitions.submit("another", "acme", INPUT, clock(), POLICY), INPUT)
    if capped:
        with pytest.raises(TooManyJobs):
            desk(table, clock, 1).retry("acme", "an-id")
    else:
        assert desk(table, clock, 1).retry("acme", "an-id").job.status is Status.PENDING


def test_a_change_is_tried_five_times(table: Table, clock: HandSetClock) -> None:
    failed(table, clock)
    table.refuses = True
    with pytest.raises(Unavailable, match="is being changed by others"):
        desk(table, clock).retry("acme", "an-id")
    assert table.writes == 5
