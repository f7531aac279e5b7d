"""Side by side, or one by itself: which jobs may run in a process."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from crewrelay.jobs.process import Process, Visit
from tests.waiting import wait_until

PATIENCE = 10


class Suspect(threading.Thread):
    """Waits for its turn, and runs until it may end; `order` is that of the turns."""

    def __init__(self, visit: Visit, failures: int, order: list[int]) -> None:
        super().__init__(daemon=True)
        self._visit, self._failures, self._order = visit, failures, order
        self.may_end = threading.Event()
        self.runs = threading.Event()

    def run(self) -> None:
        with self._visit:
            if self._visit.may_run_alone(self._failures, PATIENCE):
                self._order.append(self._failures)
                self.runs.set()
                self.may_end.wait(PATIENCE)


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(process: Process, cleanup: ExitStack, failures: int = 0, order: list[int] | None = None) -> Suspect:
    suspect = Suspect(process.visit(), failures, [] if order is None else order)
    suspect.start()
    cleanup.callback(suspect.join, PATIENCE)
    cleanup.callback(suspect.may_end.set)
    wait_until(lambda: not process.takes_jobs, within=PATIENCE)
    return suspect


def test_ordinary_jobs_run_side_by_side(process: Process) -> None:
    with process.visit() as one, process.visit() as another:
        assert one.may_share(0)
        assert another.may_share(0)
        assert process.takes_jobs


def test_a_suspect_in_an_empty_process_runs_at_once_and_nothing_beside_it(process: Process) -> None:
    with process.visit() as suspect:
        assert suspect.may_run_alone(0, 0)
        with process.visit() as ordinary, process.visit() as another:
            assert not ordinary.may_share(0)
            assert not another.may_run_alone(0, 0)
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
    assert suspect.runs.wait(PATIENCE)


def test_a_suspect_waits_for_jobs_that_nobody_knows_yet_what_they_are(process: Process) -> None:
    with process.visit() as suspect, process.visit():
        assert not suspect.may_run_alone(0, 0)


def test_what_waits_while_a_suspect_runs_goes_before_the_next_suspect(process: Process, cleanup: ExitStack) -> None:
    first = started(process, cleanup)
    assert first.runs.wait(PATIENCE)
    second = started(process, cleanup)
    with process.visit() as ordinary:
        first.may_end.set()
        assert ordinary.may_share(PATIENCE)
        assert not second.runs.is_set()
    assert second.runs.wait(PATIENCE)


def test_suspects_that_failed_less_often_go_first(process: Process, cleanup: ExitStack) -> None:
    order: list[int] = []
    with process.visit() as ordinary:
        assert ordinary.may_share(0)
        suspects = [started(process, cleanup, failures, order) for failures in (2, 0, 1)]
        wait_until(lambda: len([*filter(None, process._ranks.values())]) == 3, within=PATIENCE)
        for suspect in suspects:
            suspect.may_end.set()
    for suspect in suspects:
        suspect.join(PATIENCE)
    assert order == [0, 1, 2]


def test_a_suspect_that_gave_up_waiting_holds_nobody_up(process: Process) -> None:
    with process.visit() as ordinary:
        assert ordinary.may_share(0)
        with process.visit() as suspect:
            assert not suspect.may_run_alone(0, 0)
        assert process.takes_jobs
    with process.visit() as worse:
        assert worse.may_run_alone(5, 0)


def test_a_run_that_raises_leaves_the_process_free(process: Process) -> None:
    def crash() -> None:
        with process.visit() as suspect:
            assert suspect.may_run_alone(0, 0)
            raise ValueError("crash")

    with pytest.raises(ValueError, match="crash"):
        crash()
    with process.visit() as another:
        assert another.may_run_alone(0, 0)
