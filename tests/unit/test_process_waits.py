"""Who waits for whom in a process: each is woken by what it waits for, and not by its own patience."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pytest

from crewrelay.jobs.running.process import Process, Visit
from crewrelay.jobs.running.stray import Stray
from tests.support.waiting import wait_until

LONG = 60  # seconds, which nobody waits for
PATIENCE = 5  # seconds until a test that hangs gives up

T = TypeVar("T")
In = Callable[[Callable[[], bool]], "Future[bool]"]


class Counted(threading.Condition):
    """Knows how often somebody has begun to wait for it."""

    waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        return super().wait(timeout)


@pytest.fixture
def process() -> Process:
    made = Process()
    made._changed = Counted()
    return made


@pytest.fixture
def beside(process: Process) -> Iterator[In]:
    """Asks on another thread, and returns once it waits for the answer."""
    changed = process._changed
    assert isinstance(changed, Counted)
    with ThreadPoolExecutor() as pool:

        def ask(question: Callable[[], bool]) -> "Future[bool]":
            before = changed.waits
            answer = pool.submit(question)
            wait_until(lambda: changed.waits > before, within=PATIENCE, every=0.001)
            return answer

        yield ask
        process.retire(stray())  # so that nobody waits any longer


def stray(*, waits: bool = False) -> Stray:
    return Stray("an-id", "a thread", Future(), lambda: waits)


def isolated(process: Process) -> Visit:
    suspect = process.visit().__enter__()
    assert suspect.may_run_alone(0, 0, LONG)
    return suspect


def leave(visit: Visit) -> None:
    visit.__exit__(None, None, None)


def test_a_suspect_waits_no_longer_once_the_process_is_retired(process: Process, beside: In) -> None:
    with process.visit(), process.visit() as suspect:
        answer = beside(lambda: suspect.may_run_alone(0, LONG, LONG))
        process.retire(stray())
        assert answer.result(PATIENCE) is False


def test_an_ordinary_job_waits_no_longer_once_the_process_is_retired(process: Process, beside: In) -> None:
    isolated(process)
    with process.visit() as ordinary:
        answer = beside(lambda: ordinary.may_share(LONG))
        process.retire(stray())
        assert answer.result(PATIENCE) is False


def test_what_waited_does_not_begin_in_a_process_that_was_retired_meanwhile(process: Process, beside: In) -> None:
    suspect = isolated(process)
    with process.visit() as ordinary:
        answer = beside(lambda: ordinary.may_share(LONG))
        with process._changed:  # both before it can look
            process.retire(stray())
            leave(suspect)
        assert answer.result(PATIENCE) is False


def test_an_ordinary_job_begins_as_soon_as_the_suspect_leaves(process: Process, beside: In) -> None:
    suspect = isolated(process)
    with process.visit() as ordinary:
        answer = beside(lambda: ordinary.may_share(LONG))
        leave(suspect)
        assert answer.result(PATIENCE) is True


def test_a_suspect_in_need_begins_as_soon_as_the_last_other_waits_for_it(process: Process, beside: In) -> None:
    suspect = process.visit().__enter__()
    with process.visit() as ordinary:
        alone = beside(lambda: suspect.may_run_alone(0, LONG, 0))
        wait_until(lambda: ordinary.is_to_leave, within=PATIENCE, every=0.001)
        shared = beside(lambda: ordinary.may_share(LONG))
        assert alone.result(PATIENCE) is True
        leave(suspect)
        assert shared.result(PATIENCE) is True


def test_a_suspect_begins_as_soon_as_the_other_is_found_to_be_a_worse_one(process: Process, beside: In) -> None:
    with process.visit() as suspect, process.visit() as unknown:
        answer = beside(lambda: suspect.may_run_alone(1, LONG, LONG))
        assert not unknown.may_run_alone(2, 0, LONG)
        assert answer.result(PATIENCE) is True


def test_a_job_that_only_looks_in_leaves_the_suspect_alone(process: Process) -> None:
    isolated(process)
    with process.visit() as ordinary:
        assert not ordinary.may_share(0)
    with process.visit() as later:
        assert not later.may_share(0)


def test_a_suspect_that_runs_makes_no_room_for_another_in_need(process: Process, beside: In) -> None:
    first = isolated(process)
    with process.visit() as second, process.visit() as ordinary:
        beside(lambda: second.may_run_alone(0, LONG, 0))
        wait_until(lambda: ordinary.is_to_leave, within=PATIENCE, every=0.001)
        assert not first.is_to_leave


def test_a_job_that_has_waited_and_runs_is_not_run_beside(process: Process, beside: In) -> None:
    suspect = isolated(process)
    with process.visit() as ordinary:
        answer = beside(lambda: ordinary.may_share(LONG))
        leave(suspect)
        assert answer.result(PATIENCE)
        with process.visit() as another:
            assert not another.may_run_alone(0, 0.01, 0)


class InNeed(set[Visit]):
    """Keeps who has ever asked for room."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Visit] = []

    def add(self, visit: Visit) -> None:
        self.asked.append(visit)
        super().add(visit)


def test_a_suspect_that_may_run_at_once_asks_nobody_for_room(process: Process) -> None:
    process._in_need = in_need = InNeed()
    with process.visit() as suspect:
        assert suspect.may_run_alone(0, 2, 1)
    assert in_need.asked == []


@pytest.mark.parametrize("patience", [0.001, 0.002])
def test_a_suspect_whose_time_is_over_before_its_patience_asks_nobody_for_room(
    process: Process, patience: float
) -> None:
    process._in_need = in_need = InNeed()
    with process.visit(), process.visit() as suspect:
        assert not suspect.may_run_alone(0, 0.001, patience)
    assert in_need.asked == []


class Impatient(threading.Condition):
    """Waits for nothing, and keeps for how long it was to."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        self.waits.append(timeout)
        return super().wait_for(predicate, 0)


def test_a_suspect_waits_for_as_long_as_it_may_and_the_end_of_that_in_need(process: Process) -> None:
    process._changed = changed = Impatient()
    with process.visit(), process.visit() as suspect:
        assert not suspect.may_run_alone(0, 30, 10)
        assert not suspect.may_run_alone(0, 5, 10)
    assert changed.waits == [10, 20, 5]


def test_a_crew_that_waits_for_a_reply_is_looked_at_a_hundred_times(process: Process) -> None:
    process.leave_behind(stray(waits=True))
    assert [process.is_sound(0) for _ in range(101)] == [True] * 100 + [False]


QUESTIONS: dict[str, Callable[[Process, Visit], object]] = {
    "whether it takes jobs": lambda process, visit: process.takes_jobs,
    "whether it is sound": lambda process, visit: process.is_sound(0),
    "whether a run is to end": lambda process, visit: visit.is_to_leave,
    "to look at a job": lambda process, visit: process.visit().__enter__(),
    "to leave a crew behind": lambda process, visit: process.leave_behind(stray()),
    "to run by itself": lambda process, visit: visit.may_run_alone(0, 0, 0),
    "to share": lambda process, visit: visit.may_share(0),
    "to retire": lambda process, visit: process.retire(stray()),
    "to leave": lambda process, visit: leave(visit),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_asked_of_a_process_while_another_changes_it_waits_for_that(process: Process, question: str) -> None:
    visit = process.visit().__enter__()
    asking = threading.Thread(target=QUESTIONS[question], args=(process, visit), daemon=True)
    with process._changed:
        asking.start()
        asking.join(0.03)
        assert asking.is_alive()
    asking.join(PATIENCE)
    assert not asking.is_alive()
