"""Those who wait for another's count of a tenant's jobs, should it fail."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Thread

import pytest

from crewrelay.jobs.cap import Cap
from crewrelay.jobs.errors import Unavailable
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import HandSetClock
from tests.support.waiting import wait_until

PATIENCE = 5  # seconds until a test that hangs gives up


class SlowTable(MemoryJobStore):
    """Counts, or fails to, once it may."""

    def __init__(self, clock: HandSetClock, *, fails: bool) -> None:
        super().__init__(clock)
        self._fails = fails
        self.asked, self.may_answer = Event(), Event()

    def unfinished(self, tenant: str, most: int) -> int:
        self.asked.set()
        assert self.may_answer.wait(PATIENCE)
        if self._fails:
            raise Unavailable("The table did not answer.")
        return super().unfinished(tenant, most)


def waiters(count: "Future[None]") -> int:
    return len(count._condition._waiters)  # type: ignore[attr-defined]


def test_all_who_wait_for_a_count_that_fails_hear_of_it(clock: HandSetClock) -> None:
    table = SlowTable(clock, fails=True)
    cap = Cap(table, clock, 10)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(cap.admit, "acme")
        assert table.asked.wait(PATIENCE)
        count = cap._counts["acme"]
        others = [pool.submit(cap.admit, "acme") for _ in range(2)]
        wait_until(lambda: waiters(count) == 2, within=PATIENCE, every=0.001)
        table.may_answer.set()
        try:
            for admission in (first, *others):
                with pytest.raises(Unavailable):
                    admission.result(PATIENCE)
        finally:
            if not count.done():  # or those who wait would keep the test from its end
                count.set_result(None)
    assert cap._counts == {}


@pytest.mark.parametrize("fails", [False, True])
def test_a_count_ends_between_the_looks_of_others_and_not_during_one(clock: HandSetClock, fails: bool) -> None:
    table = SlowTable(clock, fails=fails)
    cap = Cap(table, clock, 10)

    def ask() -> None:
        with suppress(Unavailable):
            cap.admit("acme")

    asking = Thread(target=ask, daemon=True)
    asking.start()
    assert table.asked.wait(PATIENCE)
    with cap._turn:
        table.may_answer.set()
        asking.join(0.03)
        assert (list(cap._counts), cap._rooms) == (["acme"], {})
    asking.join(PATIENCE)
    assert (cap._counts, "acme" in cap._rooms) == ({}, not fails)
