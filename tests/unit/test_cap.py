"""The cap on a tenant's unfinished jobs: few counts of the table, and none too few where it decides."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from threading import Barrier, Event
from typing import Any

import pytest

from crewrelay.jobs import cap as cap_module
from crewrelay.jobs.cap import Cap
from crewrelay.jobs.errors import TooManyJobs, Unavailable
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import HandSetClock
from tests.support.runs import Meanwhile

INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
POLICY = Policy()
TIMEOUT = 10  # seconds until a test that hangs gives up


class Table(MemoryJobStore):
    """Notes each count that it is asked for."""

    counts = 0
    out_of_order = False

    def unfinished(self, tenant: str, most: int) -> int:
        self.counts += 1
        if self.out_of_order:
            raise Unavailable("The table did not answer.")
        return super().unfinished(tenant, most)


@pytest.fixture
def table(clock: HandSetClock) -> Table:
    return Table(clock)


def submit(table: Table, clock: HandSetClock, number: int, tenant: str = "acme") -> Job:
    return table.create(transitions.submit(f"{tenant}-{number}", tenant, INPUT, clock(), POLICY), INPUT)


def admitted(cap: Cap, table: Table, clock: HandSetClock, tenant: str = "acme") -> int:
    """How many jobs get in, one after the other, until one is refused."""
    for number in range(10_000):
        try:
            cap.admit(tenant)
        except TooManyJobs:
            return number
        submit(table, clock, number, tenant)
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("most", [1, 2, 7, 8, 9, 100])
def test_one_after_the_other_exactly_as_many_get_in(table: Table, clock: HandSetClock, most: int) -> None:
    cap = Cap(table, clock, most)
    assert admitted(cap, table, clock) == most
    assert admitted(cap, table, clock, "other") == most


def test_without_a_cap_nothing_is_counted(table: Table, clock: HandSetClock) -> None:
    cap = Cap(table, clock, None)
    for _ in range(100):
        cap.admit("acme")
    assert table.counts == 0


def test_far_from_the_cap_it_is_counted_once_a_second(table: Table, clock: HandSetClock) -> None:
    cap = Cap(table, clock, 1000)
    for number in range(100):
        cap.admit("acme")
        submit(table, clock, number)
    assert table.counts == 1
    clock.pass_(seconds=1)
    cap.admit("acme")
    assert table.counts == 2


def test_a_refusal_is_never_of_an_old_count(table: Table, clock: HandSetClock) -> None:
    cap = Cap(table, clock, 1)
    job = submit(table, clock, 1)
    for _ in range(3):
        with pytest.raises(TooManyJobs, match="1 jobs are pending or running"):
            cap.admit("acme")
    table.save(job, transitions.cancel(job, clock()))
    cap.admit("acme")


def test_who_is_not_capped_takes_no_room(table: Table, clock: HandSetClock) -> None:
    for number in range(5):
        table.create(transitions.submit(f"intake-{number}", "acme", INPUT, clock(), POLICY, capped=False), INPUT)
    assert admitted(Cap(table, clock, 2), table, clock) == 2


def test_many_at_once_wait_for_one_count(table: Table, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch) -> None:
    cap, together, may_answer = Cap(table, clock, 1000), Barrier(33), Event()
    count = table.unfinished

    def slow(tenant: str, most: int) -> int:
        assert may_answer.wait(TIMEOUT)
        return count(tenant, most)

    monkeypatch.setattr(table, "unfinished", slow)

    def submit_one(_: int) -> None:
        together.wait(TIMEOUT)
        cap.admit("acme")

    with ThreadPoolExecutor(32) as pool:
        admissions = pool.map(submit_one, range(32))
        together.wait(TIMEOUT)
        may_answer.set()
        list(admissions)
    assert table.counts == 1


def test_a_count_that_fails_is_asked_for_again_by_the_next(table: Table, clock: HandSetClock) -> None:
    cap = Cap(table, clock, 1)
    table.out_of_order = True
    with pytest.raises(Unavailable):
        cap.admit("acme")
    table.out_of_order = False
    cap.admit("acme")


def test_of_the_room_that_is_found_an_eighth_is_taken_before_the_next_count(table: Table, clock: HandSetClock) -> None:
    cap = Cap(table, clock, 80)
    for _ in range(10):
        cap.admit("acme")
    assert table.counts == 1
    cap.admit("acme")
    assert table.counts == 2


def test_each_tenants_room_is_kept_while_others_are_counted_and_forgotten_once_it_is_old(
    table: Table, clock: HandSetClock
) -> None:
    cap = Cap(table, clock, 80)
    for tenant in ("acme", "zoo", "acme", "zoo"):
        cap.admit(tenant)
    assert table.counts == 2
    clock.pass_(seconds=1)
    cap.admit("globex")
    assert list(cap._rooms) == ["globex"]  # or the memory of a long-lived process would grow


def test_the_last_place_is_taken_by_one_of_two(table: Table, clock: HandSetClock) -> None:
    rival = Meanwhile(lambda: cap.admit("acme"))
    looked = 0

    def slow_clock() -> datetime:
        nonlocal looked
        looked += 1
        if looked == 3:  # after a count and the one who asked for it, who left one place
            rival()
        return clock()

    cap = Cap(table, slow_clock, 16)
    for _ in range(2):
        cap.admit("acme")
    rival.join()
    assert table.counts == 2


def test_who_asks_while_a_count_begins_waits_for_it(
    table: Table, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = Meanwhile(lambda: cap.admit("acme"))

    def slow_future() -> "Future[Any]":
        rival()
        return Future()

    monkeypatch.setattr(cap_module, "Future", slow_future)
    cap = Cap(table, clock, 1000)
    cap.admit("acme")
    rival.join()
    assert table.counts == 1
