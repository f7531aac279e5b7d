"""Side by side, or one by itself: which jobs may run in a process."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack

import pytest

from crewrelay.jobs.running.process import Process, Visit
from crewrelay.jobs.running.stray import Stray
from tests.support.waiting import wait_until

TIMEOUT = 10


class Suspect(threading.Thread):
    """Waits for its turn, and runs until it may end; `order` is that of the turns."""

    def __init__(self, visit: Visit, failures: int, order: list[int], timeout: float) -> None:
        super().__init__(daemon=True)
        self._visit, self._failures, self._order, self._timeout = visit, failures, order, timeout
        self.may_end = threading.Event()
        self.runs = threading.Event()

    def run(self) -> None:
        with self._visit:
            if self._visit.may_run_alone(self._failures, TIMEOUT, self._timeout):
                self._order.append(self._failures)
                self.runs.set()
                self.may_end.wait(TIMEOUT)


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Ordinary(threading.Thread):
    def __init__(self, process: Process, cleanup: ExitStack) -> None:
        super().__init__(daemon=True)
        self._process = process
        self.runs = threading.Event()
        self.start()
        cleanup.callback(self.join, TIMEOUT)

    def run(self) -> None:
        with self._process.visit() as visit:
            if visit.may_share(TIMEOUT):
                self.runs.set()


def started(
    process: Process,
    cleanup: ExitStack,
    failures: int = 0,
    order: list[int] | None = None,
    timeout: float = TIMEOUT,
) -> Suspect:
    suspect = Suspect(process.visit(), failures, [] if order is None else order, timeout)
    suspect.start()
    cleanup.callback(suspect.join, TIMEOUT)
    cleanup.callback(suspect.may_end.set)
    wait_until(lambda: not process.takes_jobs, within=TIMEOUT)
    return suspect


def test_ordinary_jobs_run_side_by_side(process: Process) -> None:
    with process.visit() as one, process.visit() as another:
        assert one.may_share(0)
        assert another.may_share(0)
        assert process.takes_jobs


def test_a_suspect_in_an_empty_process_runs_at_once_and_nothing_beside_it(process: Process) -> None:
    with process.visit() as suspect:
        assert suspect.may_run_alone(0, 0, TIMEOUT)
        with process.visit() as ordinary, process.visit() as another:
            assert not ordinary.may_share(0)
            assert not another.may_run_alone(0, 0, TIMEOUT)
            assert not process.takes_jobs
    with process.visit() as ordinary:
        assert ordinary.may_share(0)
    assert process.takes_jobs


def test_a_suspect_waits_for_ordinary_jobs_and_lets_later_ones_go_first(process: Process, cleanup: ExitStack) -> None:
    with process.visit() as ordinary:
        assert ordinary.may_share(0)
        suspect = started(process, cleanup)
        with process.visit() as later:
            assert later.may_share(0)
    assert suspect.runs.wait(TIMEOUT)


def test_a_suspect_waits_for_jobs_that_nobody_knows_yet_what_they_are(process: Process) -> None:
    with process.visit() as suspect, process.visit():
        assert not suspect.may_run_alone(0, 0, TIMEOUT)


def test_what_waits_while_a_suspect_runs_goes_before_the_next_suspect(process: Process, cleanup: ExitStack) -> None:
    first = started(process, cleanup)
    assert first.runs.wait(TIMEOUT)
    second = started(process, cleanup)
    with process.visit() as ordinary:
        first.may_end.set()
        assert ordinary.may_share(TIMEOUT)
        assert not second.runs.is_set()
    assert second.runs.wait(TIMEOUT)


def test_suspects_that_failed_less_often_go_first(process: Process, cleanup: ExitStack) -> None:
    order: list[int] = []
    with process.visit() as ordinary:
        assert ordinary.may_share(0)
        suspects = [started(process, cleanup, failures, order) for failures in (2, 0, 1)]
        wait_until(lambda: len([*filter(None, process._ranks.values())]) == 3, within=TIMEOUT)
        for suspect in suspects:
            suspect.may_end.set()
    for suspect in suspects:
        suspect.join(TIMEOUT)
    assert order == [0, 1, 2]


def test_a_suspect_that_gave_up_waiting_holds_nobody_up(process: Process) -> None:
    with process.visit() as ordinary:
        assert ordinary.may_share(0)
        with process.visit() as suspect:
            assert not suspect.may_run_alone(0, 0, TIMEOUT)
        assert process.takes_jobs
    with process.visit() as worse:
        assert worse.may_run_alone(5, 0, TIMEOUT)


def test_a_run_that_raises_leaves_the_process_free(process: Process) -> None:
    def crash() -> None:
        with process.visit() as suspect:
            assert suspect.may_run_alone(0, 0, TIMEOUT)
            raise ValueError("crash")

    with pytest.raises(ValueError, match="crash"):
        crash()
    with process.visit() as another:
        assert another.may_run_alone(0, 0, TIMEOUT)


def test_a_suspect_that_has_waited_for_long_goes_before_whatever_comes_later(
    process: Process, cleanup: ExitStack
) -> None:
    with process.visit() as ordinary:
        assert ordinary.may_share(0)
        assert not ordinary.is_to_leave
        suspect = started(process, cleanup, timeout=0)
        wait_until(lambda: ordinary.is_to_leave, within=TIMEOUT)
        later = Ordinary(process, cleanup)
        wait_until(lambda: process._waiting, within=TIMEOUT)
    assert suspect.runs.wait(TIMEOUT)
    assert not later.runs.is_set()
    suspect.may_end.set()
    assert later.runs.wait(TIMEOUT)


def test_nothing_waits_in_a_process_that_is_retired(process: Process, cleanup: ExitStack) -> None:
    with process.visit() as ordinary:
        assert ordinary.may_share(0)
        suspect = started(process, cleanup)
        process.retire(Stray("an-id", "a thread", Future(), lambda: False))
        assert ordinary.is_to_leave
        suspect.join(TIMEOUT)
        assert not suspect.is_alive()
    assert not suspect.runs.is_set()
    with process.visit() as another:
        assert not another.may_run_alone(0, TIMEOUT, TIMEOUT)  # a stray is beside it
        assert another.may_share(0)


def test_who_has_the_process_to_itself_keeps_it(process: Process) -> None:
    with process.visit() as suspect:
        assert suspect.may_run_alone(0, 0, 0)
        with process.visit():
            assert suspect.may_run_alone(0, 0, 0)
            assert suspect.may_share(0)
            assert not suspect.waited
