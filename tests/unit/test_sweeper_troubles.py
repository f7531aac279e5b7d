"""A sweep at the edge of its queue's room, over jobs that can't be looked at, and what its log says of each job."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from crewrelay.jobs.errors import Unavailable
from crewrelay.jobs.log_keys import log_keys
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.sweeper import Sweeper, Swept
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock

POLICY = Policy(enough_bells=10)
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})


class Table(MemoryJobStore):
    """Some of what it is asked for fails."""

    unsavable = frozenset[str]()
    ends_nothing = False

    def save(self, before: Job, after: Job) -> None:
        if after.id in self.unsavable:
            raise Unavailable("The table did not answer.")
        super().save(before, after)

    def end_damaged(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        if self.ends_nothing:
            raise OSError("an urllib3 surprise")
        return super().end_damaged(job_id, error, now, due_before)


class Office:
    def __init__(self, clock: HandSetClock) -> None:
        self.clock, self.table, self.doorbell = clock, Table(clock), MemoryDoorbell()
        self.sweeper = Sweeper(self.table, self.doorbell, clock, POLICY)

    def submit(self, *job_ids: str) -> None:
        for job_id in job_ids:
            job = transitions.submit(job_id, "acme", INPUT, self.clock(), POLICY, f"c-{job_id}")
            self.table.create(job, INPUT)

    def status(self, job_id: str) -> Status:
        record = self.table.load(job_id)
        assert record
        return record.job.status

    def sweep(self) -> dict[Swept, int]:
        return dict(self.sweeper.sweep(self.clock() + timedelta(seconds=60)))


@pytest.fixture
def office(clock: HandSetClock) -> Office:
    return Office(clock)


Keys = dict[str, dict[str, object]]


@pytest.fixture
def keys(caplog: pytest.LogCaptureFixture) -> Iterator[Keys]:
    """Of each job that a warning or error is about the keys of the line's context."""
    kept: Keys = {}

    def keep(record: logging.LogRecord) -> bool:
        found: dict[str, object] = dict(log_keys())
        if record.levelno >= logging.WARNING:
            kept[str(found.get("job_id"))] = found
        return True

    caplog.handler.addFilter(keep)
    yield kept
    caplog.handler.removeFilter(keep)


def test_the_last_bell_that_there_is_room_for_is_rung(office: Office) -> None:
    office.submit("one", "two")
    office.clock.pass_(minutes=2)
    office.doorbell.depth = POLICY.enough_bells - 1
    assert office.sweep() == {Swept.RUNG: 1}


def test_behind_a_queue_that_is_just_full_jobs_past_their_age_end(office: Office) -> None:
    office.submit("old")
    office.clock.pass_(hours=24)
    office.submit("young")
    office.clock.pass_(minutes=2)
    office.doorbell.depth = POLICY.enough_bells
    assert office.sweep() == {Swept.ENDED: 1}
    assert (office.status("old"), office.status("young")) == (Status.FAILED, Status.PENDING)


def test_a_damaged_job_that_can_not_be_ended_either_does_not_stop_the_sweep(office: Office, keys: Keys) -> None:
    office.submit("damaged", "sound")
    office.table.damaged.add("damaged")
    office.table.ends_nothing = True
    office.clock.pass_(hours=23)
    assert office.sweep() == {Swept.FAILED: 1, Swept.RUNG: 1}
    assert keys == {"damaged": {"job_id": "damaged"}}


def test_what_is_said_of_a_job_has_its_own_ids_and_no_others(office: Office, keys: Keys) -> None:
    office.submit("one", "two")
    office.table.unsavable = frozenset(("one", "two"))
    office.clock.pass_(minutes=2)
    assert office.sweep() == {Swept.FAILED: 2}
    assert keys == {
        job_id: {"job_id": job_id, "tenant": "acme", "correlation_id": f"c-{job_id}"} for job_id in ("one", "two")
    }
