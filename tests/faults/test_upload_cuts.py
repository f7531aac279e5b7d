"""A process that reads a batch's file dies before or after each of its writes: the next one goes on, and each line is
what it would have been.
"""

from typing import Any

import pytest

from crewrelay.jobs.batches import uploads
from crewrelay.jobs.records.batch import UploadState
from tests.support.fixtures import Figure, HandSetClock
from tests.support.uploads import Office, line

_WRITES = {"create", "save", "put_chunk", "put_outcomes", "delete", "reopen"}
FILE = b"\n".join([line("a"), b"no JSON", *(line(f"n{number}") for number in range(8)), line("a"), line()])
EXPECTED = {
    "a": "",
    "1": "line 2: is not JSON",
    **{f"n{number}": "" for number in range(8)},
    "11": "",
}


class Killed(BaseException): ...


class Process:
    """Dies before, or after, the n-th of its writes. No later one is made."""

    def __init__(self, at: int, after: bool) -> None:
        self.writes = 0
        self._at = at
        self._after = after

    def through(self, store: Any) -> Any:
        process = self

        class Proxy:
            def __getattr__(self, name: str) -> Any:
                method = getattr(store, name)
                return process.watched(method) if name in _WRITES else method

        return Proxy()

    def watched(self, method: Any) -> Any:
        def write(*arguments: Any) -> Any:
            self.writes += 1
            if self.writes > self._at or (self.writes == self._at and not self._after):
                raise Killed
            written = method(*arguments)
            if self.writes == self._at:
                raise Killed
            return written

        return write


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("batches.uploads", "batches.rows", "batches.batches"):
        monkeypatch.setattr(f"crewrelay.jobs.{module}.CHUNK", 4)
    monkeypatch.setattr("crewrelay.testing.batches.CHUNK", 4)
    monkeypatch.setattr("crewrelay.jobs.batches.uploads.THREADS", 1)  # the n-th write is always the same


def test_death_at_every_write(clock: HandSetClock, figure: Figure) -> None:
    at = 0
    while dies(clock, at := at + 1, after=False) and dies(clock, at, after=True):
        pass
    figure(f"death before and after each of {at - 1} writes: each line is what it would have been")
    assert at > 20


def dies(clock: HandSetClock, at: int, after: bool) -> bool:
    """Whether the process made so many writes. The next ones finish what it left."""
    office = Office(clock)
    batch, process = office.upload(FILE), Process(at, after)
    dead = office.process(*map(process.through, (office.table, office.kept, office.files)))
    try:
        office.work(batch, dead)
    except Killed:
        died = True
    else:
        died = False
    for _ in range(3):
        clock.pass_(seconds=61)  # its hold is over
        uploads.ring_for_due(office.kept, office.bell, clock())
        office.work(batch)
    assert office.state(batch) == (UploadState.SUBMITTED, ""), at
    items = [item for _, some in office.batches.counting.chunks(batch) for item in some]
    assert {item.custom_id: item.rejection for item in reversed(items)} == EXPECTED, at
    assert len(items) == 12
    assert office.counts(batch) == {"pending": 10, "rejected": 2}, at
    return died


def test_death_at_every_write_of_a_cancellation(clock: HandSetClock) -> None:
    at, died = 0, True
    while died:
        at += 1
        office = Office(clock)
        batch, process = office.upload(FILE), Process(at, after=at % 2 == 0)
        office.work(batch)
        office.batches.cancel(office.batches.of_tenant("acme", batch.id), clock())
        dead = office.process(*map(process.through, (office.table, office.kept, office.files)))
        try:
            office.work(batch, dead)
            died = False
        except Killed:
            clock.pass_(seconds=61)
            office.work(batch)
        assert office.state(batch)[0] is UploadState.CANCELLED, at
        assert office.counts(batch) == {"cancelled": 10, "rejected": 2}, at
    assert at > 10
