"""When the wait for a crew ends, and what its job's attempt is then counted as."""

from concurrent.futures import Future
from datetime import timedelta
from threading import Event

import pytest

from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.running.process import Process
from crewrelay.jobs.running.stray import Stray
from tests.support.executions import ANSWER, PATIENCE, Desk, PausedCrew, ScriptedCrew, asks
from tests.support.fixtures import HandSetClock

NOTICE = 120  # seconds: twice a lease


class WaitingCrew(ScriptedCrew):
    """Waits for a reply of its model until it may have it."""

    def __init__(self) -> None:
        super().__init__(self._ask)
        self.asked, self.may_have_it = Event(), Event()

    def _ask(self, calls: Calls) -> Answer:
        calls.call(Kind.MODEL, {"asked": "what?"}, self._pay)
        return ANSWER

    def _pay(self) -> Reply:
        self.asked.set()
        assert self.may_have_it.wait(PATIENCE)
        return Reply(body="a reply")

    def is_asking(self) -> None:
        assert self.asked.wait(PATIENCE)


def retired() -> Process:
    """A process that is to be started anew, of which its jobs make haste to leave."""
    process = Process()
    process.retire(Stray("another", "a thread", Future(), lambda: False))
    return process


def test_a_crew_is_waited_for_a_third_of_its_lease_at_a_time_and_not_beyond_the_deadline(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := PausedCrew())
    desk.submit()
    desk.run(50, [desk.passes(20), desk.passes(20), crew.may_go_on.set])
    assert desk.waited[:3] == [20, 20, 10]


def test_the_lease_is_renewed_after_each_wait(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := PausedCrew())
    desk.submit()
    begun = clock()
    desk.run(900, [desk.passes(20), desk.passes(20), crew.may_go_on.set])
    assert [moment - begun for moment in desk.table.renewals[:2]] == [timedelta(seconds=20), timedelta(seconds=40)]


def test_at_the_deadline_to_the_second_nothing_is_waited_for_any_longer(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := PausedCrew())
    desk.submit()
    job = desk.run(10, [desk.passes(10), crew.may_go_on.set])
    assert (job.status, job.relays) == (Status.PENDING, 1)
    assert desk.table.renewals == []
    crew.may_go_on.set()


def test_after_the_deadline_there_is_no_wait_at_all(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := PausedCrew())
    desk.submit()
    desk.run(-1, [crew.may_go_on.set])
    assert desk.waited == [0]


def test_a_job_that_nobody_waits_for_may_take_all_its_time(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := PausedCrew())
    desk.submit()
    job = desk.run(900, [*[desk.passes(20)] * 30, crew.may_go_on.set])
    assert (job.status, job.relays) == (Status.COMPLETED, 0)


def test_in_a_process_that_is_to_be_started_anew_a_job_has_two_leases_of_time(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := PausedCrew(), process=retired())
    desk.submit()
    begun = clock()
    job = desk.run(900, [desk.passes(0), *[desk.passes(20)] * 30])
    assert (job.status, job.relays) == (Status.PENDING, 1)
    assert clock() - begun == timedelta(seconds=NOTICE)
    crew.may_go_on.set()


def test_a_run_that_says_nothing_of_a_free_call_has_none(clock: HandSetClock) -> None:
    desk = Desk(clock, ScriptedCrew(asks("what?")))
    desk.submit()
    job = desk.run(1)  # a call takes two seconds at least
    assert (job.status, job.relays, job.receipt.calls_paid) == (Status.PENDING, 1, 0)
    assert (job.attempts, job.stalled) == (0, 0)  # there was no time to try


def test_a_run_that_had_time_and_got_no_further_was_an_attempt(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := WaitingCrew())
    desk.submit()
    job = desk.run(900, [crew.is_asking, desk.passes(900)])
    assert (job.status, job.relays, job.attempts, job.stalled) == (Status.PENDING, 1, 1, 1)
    crew.may_have_it.set()


def test_a_run_that_was_cut_short_for_others_was_none(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := WaitingCrew(), process=retired())
    desk.submit()
    job = desk.run(900, [crew.is_asking, desk.passes(NOTICE)])
    assert (job.status, job.relays, job.attempts, job.stalled) == (Status.PENDING, 1, 0, 0)
    crew.may_have_it.set()


def test_a_crew_pays_for_nothing_in_the_grace_after_the_deadline(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := PausedCrew(asks("what?")))
    desk.submit()

    def comes_back() -> None:
        crew.may_go_on.set()
        desk.crew_ends()

    grace = timedelta(seconds=5)
    job = desk.run(20, [desk.passes(20), comes_back], first_call_is_free=True, grace=grace)
    assert (job.receipt.calls_paid, list(desk.table.journal(job))) == (0, [])
    assert (job.status, job.strikes, job.relays) == (Status.PENDING, 0, 1)  # it came back in time
    assert desk.waited == [20, 5]


def test_a_grace_is_no_longer_than_the_lease_lasts_between_renewals(clock: HandSetClock) -> None:
    desk = Desk(clock, crew := PausedCrew())
    desk.submit()
    job = desk.run(20, [desk.passes(20), desk.passes(20)], grace=timedelta(hours=1))
    assert desk.waited == [20, 20]
    assert (job.status, job.strikes) == (Status.PENDING, 1)
    crew.may_go_on.set()


@pytest.mark.parametrize("grace", [0, 5])
def test_a_crew_that_came_back_is_not_left_behind(clock: HandSetClock, grace: int) -> None:
    process = LookedAt()
    desk = Desk(clock, ScriptedCrew(), process=process)
    desk.submit()
    desk.table.before_the_answer = desk.crew_ends
    assert desk.run(900, grace=timedelta(seconds=grace)).status is Status.COMPLETED
    assert process.left == []


def test_a_crew_that_did_not_is_left_behind_by_the_name_of_its_thread(clock: HandSetClock) -> None:
    process = LookedAt()
    desk = Desk(clock, crew := PausedCrew(), process=process)
    desk.submit()
    desk.run(20, [desk.passes(20)])
    assert [(stray.job_id, stray.thread) for stray in process.left] == [("an-id", "crew-an-id")]
    crew.may_go_on.set()


class LookedAt(Process):
    def __init__(self) -> None:
        super().__init__()
        self.left: list[Stray] = []

    def leave_behind(self, stray: Stray) -> None:
        self.left.append(stray)
