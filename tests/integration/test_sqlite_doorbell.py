"""The doorbell in SQLite: a bell for each job, received by one, and again by another if nobody deletes it."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from unittest.mock import Mock

import pytest

from crewrelay.jobs.errors import Unavailable
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.doorbell import SqliteDoorbell
from crewrelay.system import utcnow
from tests.support.fixtures import HandSetClock


@pytest.fixture
def doorbell(database: Database, clock: HandSetClock) -> SqliteDoorbell:
    return SqliteDoorbell(database, clock)


def received(doorbell: SqliteDoorbell, most: int = 10) -> list[str]:
    return [record["body"] for record in doorbell.receive(most)]


def test_bells_are_received_in_the_order_of_their_ringing_and_once(
    doorbell: SqliteDoorbell, clock: HandSetClock
) -> None:
    for job_id in ("c", "a", "b"):
        doorbell.ring(job_id)
        clock.pass_(seconds=1)
    assert doorbell.waiting() == 3
    assert received(doorbell, 2) == ["c", "a"]
    assert received(doorbell) == ["b"]
    assert received(doorbell) == []
    assert doorbell.waiting() == 0


def test_a_job_that_is_rung_for_twice_has_one_bell(doorbell: SqliteDoorbell) -> None:
    doorbell.ring("a")
    doorbell.ring("a", timedelta(minutes=1))
    assert received(doorbell) == ["a"]


def test_a_delayed_bell_waits_and_an_earlier_one_goes_before_it(doorbell: SqliteDoorbell, clock: HandSetClock) -> None:
    doorbell.ring("a", timedelta(seconds=10))
    doorbell.ring("b", timedelta(seconds=10))
    doorbell.ring("b")
    assert (received(doorbell), doorbell.waiting()) == (["b"], 0)
    clock.pass_(seconds=10)
    assert received(doorbell) == ["a"]


def test_what_is_not_deleted_comes_again(doorbell: SqliteDoorbell, clock: HandSetClock) -> None:
    doorbell.ring("a")
    doorbell.ring("b")
    records = {record["body"]: record for record in doorbell.receive(10)}
    doorbell.delete([records["a"]])
    clock.pass_(minutes=15)
    assert received(doorbell) == ["b"]
    doorbell.delete([records["b"]])  # too late: it has been received by another
    clock.pass_(minutes=15)
    assert received(doorbell) == ["b"]


def test_a_bell_rung_while_its_job_is_looked_at_is_not_deleted_with_the_earlier_one(doorbell: SqliteDoorbell) -> None:
    doorbell.ring("a")
    records = doorbell.receive(10)
    doorbell.ring("a")
    doorbell.delete(records)
    assert received(doorbell) == ["a"]


def test_after_a_crash_what_was_received_is_received_again(doorbell: SqliteDoorbell) -> None:
    doorbell.ring("a")
    assert received(doorbell) == ["a"]
    doorbell.recover()
    assert received(doorbell) == ["a"]


def test_competing_receivers_get_each_bell_once(database: Database) -> None:
    doorbell, taken = SqliteDoorbell(database, utcnow), list[str]()
    for number in range(200):
        doorbell.ring(f"job {number}")

    def take() -> None:
        while some := received(doorbell, 3):
            taken.extend(some)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"job {number}" for number in range(200))


@pytest.mark.parametrize("by", ["this process", "another one"])
def test_who_waits_is_woken_by_a_ring(database: Database, by: str) -> None:
    """Of another process the stack is told, which watches the file."""
    doorbell, taken = SqliteDoorbell(database, utcnow), list[str]()
    waiting = threading.Thread(target=lambda: taken.extend(r["body"] for r in doorbell.receive(1, wait=60)))
    with closing(database.watch()) as watch, ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch.wait)
        waiting.start()
        if by == "this process":
            doorbell.ring("a")
        else:
            assert not watching.done()
            SqliteDoorbell(Database(database.path), utcnow).ring("a")
            watching.result(10)
            database.changes.notify()
        waiting.join(10)
        watching.result(10)
    assert taken == ["a"]


def test_a_watch_that_can_not_look_says_so_as_a_change_and_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is woken looks, and finds out why; it must not end the stack."""
    with closing(database.watch()) as watch, monkeypatch.context() as failing:
        failing.setattr(watch, "_asked", Mock(side_effect=sqlite3.OperationalError("disk I/O error")))
        watch.wait()


def test_a_watch_that_is_closed_returns(database: Database) -> None:
    watch = database.watch()
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch.wait)
        watch.close()
        watching.result(10)


def test_a_wait_ends_in_time_though_the_clock_is_set_back(doorbell: SqliteDoorbell, clock: HandSetClock) -> None:
    doorbell.ring("a")
    clock.now -= timedelta(hours=2)
    begun = time.monotonic()
    assert doorbell.receive(1, wait=1) == []
    assert time.monotonic() - begun < 5
    doorbell.recover()  # as the next stack does
    assert received(doorbell) == ["a"]


def test_a_file_that_is_locked_for_too_long_is_unavailable(
    database: Database, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait: each waits for its own turn, and not for the others' waiting."""
    monkeypatch.setattr("crewrelay.sqlite.database._BUSY_TIMEOUT", 0.2)
    doorbell, refused = SqliteDoorbell(Database(database.path), clock), list[str]()

    def ring() -> None:
        with pytest.raises(Unavailable, match="is busy") as refusal:
            doorbell.ring("a")
        refused.append(str(refusal.value))

    threads = [threading.Thread(target=ring) for _ in range(20)]
    with Database(database.path).writing():
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - begun < 2
    assert len(refused) == 20
