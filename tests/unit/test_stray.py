"""Where a crew is that is still at work: for the log by file and line, for the job's owner in short."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from crewrelay.jobs.running.stray import Stray
from tests.support.waiting import wait_until

PATIENCE = 5  # seconds until a test that hangs gives up
NAME = "crew-an-id"


class Busy(threading.Thread):
    """Goes down so many steps of its own, and stays there until it may end."""

    def __init__(self, steps: int) -> None:
        super().__init__(name=NAME, daemon=True)
        self._steps = steps
        self.may_end = threading.Lock()

    def run(self) -> None:
        self.go_down(self._steps)

    def go_down(self, steps: int) -> None:
        if steps > 1:
            return self.go_down(steps - 1)
        with self.may_end:
            return None


GO_DOWN = Busy.go_down.__code__.co_firstlineno
BELOW, THERE = f"{__file__}:{GO_DOWN + 2} go_down", f"{__file__}:{GO_DOWN + 3} go_down"


@pytest.fixture
def busy() -> Iterator[Busy]:
    thread = Busy(steps=8)
    with thread.may_end:
        thread.start()
        yield thread
    thread.join(PATIENCE)
    assert not thread.is_alive()


def stray(thread: str = NAME) -> Stray:
    return Stray("an-id", thread, Future(), lambda: False)


def test_a_crew_at_work_is_found_by_the_name_of_its_thread_with_its_last_five_steps(busy: Busy) -> None:
    wait_until(lambda: stray().where[-1:] == [THERE], within=PATIENCE, every=0.001)
    assert stray().where == [BELOW] * 4 + [THERE]


def test_its_owner_is_told_the_last_step_without_the_folders_of_this_machine(busy: Busy) -> None:
    wait_until(lambda: stray().where[-1:] == [THERE], within=PATIENCE, every=0.001)
    assert stray().told_where == f"test_stray.py:{GO_DOWN + 3} go_down"


def test_a_crew_that_has_come_back_or_runs_no_code_of_python_is_nowhere(busy: Busy) -> None:
    assert stray("another thread").where == []
    assert stray("another thread").told_where == "code of its own"


def test_a_crew_that_was_just_left_behind_was_never_looked_at() -> None:
    assert stray().looks == 0


def test_a_thread_that_has_not_begun_yet_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python lists it already, and it has neither an id nor a stack."""
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.Thread(name=NAME)])
    assert stray().where == []
