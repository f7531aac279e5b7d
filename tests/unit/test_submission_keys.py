"""What a key stands for in every release, and what a submission asks the table for."""

import pytest

from crewrelay.jobs.errors import TooManyJobs
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.job import JobInput, keyed_id
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.submission import Submission, message_key
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock

INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})


class Table(MemoryJobStore):
    """Counts how often a job is read."""

    loads = 0

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        self.loads += 1
        return super().load(job_id, tenant)


@pytest.fixture
def table(clock: HandSetClock) -> Table:
    return Table(clock)


def submission(table: Table, clock: HandSetClock, most_unfinished: int | None) -> Submission:
    ids = iter(("id-1", "id-2"))
    return Submission(table, MemoryDoorbell(), clock, lambda: next(ids), Policy(), most_unfinished)


def test_a_key_stands_for_the_same_job_in_every_release() -> None:
    assert keyed_id("acme", "a key") == "de9e0251-e7f0-521e-934d-5a4aa99b87c4"
    assert keyed_id("acme", message_key("m-1")) == keyed_id("acme", "intake:m-1")


@pytest.mark.parametrize(("most", "counted"), [(None, 0), (10, 1)])
def test_a_job_counts_only_where_there_is_a_cap(
    table: Table, clock: HandSetClock, most: int | None, counted: int
) -> None:
    submission(table, clock, most).submit("acme", INPUT)
    assert table.unfinished("acme", 10) == counted


def test_a_request_without_a_key_repeats_none_so_that_no_job_is_read_to_refuse_it(
    table: Table, clock: HandSetClock
) -> None:
    desk = submission(table, clock, 1)
    desk.submit("acme", INPUT)
    with pytest.raises(TooManyJobs):
        desk.submit("acme", INPUT)
    assert table.loads == 0
