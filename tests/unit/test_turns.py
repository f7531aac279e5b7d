"""How long a job waits for its turn, and what its attempts count."""

import threading
from datetime import timedelta

import pytest

from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import Failure, JobInput, Status
from crewrelay.jobs.records.journal import Kind
from crewrelay.jobs.running.process import Process, Visit
from crewrelay.jobs.sweeper import Sweeper, Swept
from tests.support.fixtures import HandSetClock
from tests.support.live_executions import (
    ANSWER,
    HASTY,
    POLICY,
    TIMEOUT,
    BlockedCrew,
    Crew,
    Desk,
    lost_by_another_process,
)
from tests.support.runs import reply
from tests.support.waiting import wait_until


class Failing(Crew):
    """Each of its runs fails, of the service or of itself."""

    def __init__(self, *outages: bool) -> None:
        super().__init__()
        self._outages = iter(outages)

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        raise ValueError("no")

    def explain(self, error: BaseException) -> Failure:
        return Failure(type="no", message="no", retryable=True, outage=next(self._outages))


def test_pauses_double_whatever_the_attempts_before_failed_of(clock: HandSetClock) -> None:
    desk = Desk(Failing(True, False, True, False), clock=clock)
    job_id, pauses = desk.submit(), []
    for _ in range(4):
        desk.run(job_id)
        not_before = desk.record(job_id).job.not_before
        assert not_before
        pauses.append(not_before - clock())
        clock.now = not_before
    assert pauses == [POLICY.backoff(number, 0.5, None) for number in (1, 2, 3, 4)]
    job = desk.record(job_id).job
    assert (job.attempts, job.stalled, job.outages) == (4, 2, 2)


def test_a_job_waits_for_its_turn_for_half_of_its_time_and_then_is_rung_for(
    clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, asked = Desk(Crew(), clock=clock), list[tuple[float, ...]]()
    monkeypatch.setattr(Visit, "may_run_alone", lambda _, *told: asked.append(told))
    monkeypatch.setattr(Visit, "may_share", lambda _, *told: asked.append(told))
    suspect, ordinary = lost_by_another_process(desk), desk.submit()
    desk.run(suspect, seconds=10)
    desk.run(ordinary, seconds=10)
    assert asked == [(0, 5, POLICY.notice.total_seconds()), (5,)]
    assert desk.doorbell.rings == [suspect, ordinary]
    assert desk.crew.inputs == []


class Asking(Crew):
    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        calls.call(Kind.MODEL, {"asked": "a question"}, lambda: reply("an answer"))
        return ANSWER


def test_a_run_that_had_no_time_for_a_call_is_no_attempt(clock: HandSetClock) -> None:
    desk = Desk(Asking(), clock=clock)
    job_id = desk.submit()
    desk.run(job_id, seconds=POLICY.call_floor.total_seconds() - 0.5)
    job = desk.record(job_id).job
    assert (job.status, job.relays, job.attempts, job.stalled) == (Status.PENDING, 1, 0, 0)
    desk.run(job_id, seconds=POLICY.call_floor.total_seconds() - 0.5, first_call_is_free=True)
    assert desk.record(job_id).job.status is Status.COMPLETED


def test_a_run_that_did_nothing_with_its_time_is_one() -> None:
    desk = Desk(crew := BlockedCrew())
    job_id = desk.submit()
    desk.run(job_id, seconds=0.05, first_call_is_free=True)
    assert crew.started.wait(TIMEOUT)
    crew.may_end.set()
    job = desk.record(job_id).job
    assert (job.status, job.relays, job.attempts, job.stalled) == (Status.PENDING, 1, 1, 1)
    assert timedelta() < job.ran < timedelta(seconds=TIMEOUT)


def side_by_side(desk: Desk, ordinary: str, suspect: str) -> tuple[threading.Thread, threading.Thread]:
    """A job that runs, and one that waits for its turn beside it."""
    assert isinstance(desk.crew, BlockedCrew)
    running, waiting = (
        threading.Thread(target=desk.run, args=(job_id,), daemon=True) for job_id in (ordinary, suspect)
    )
    running.start()
    assert desk.crew.started.wait(TIMEOUT)
    waiting.start()
    return running, waiting


def test_what_an_earlier_process_may_have_died_of_is_not_claimed_while_others_run() -> None:
    process = Process()
    desk = Desk(crew := BlockedCrew(), process=process)
    ordinary, suspect = desk.submit(), lost_by_another_process(desk)
    before = desk.record(suspect).job
    running, waiting = side_by_side(desk, ordinary, suspect)
    wait_until(lambda: not process.takes_jobs, within=TIMEOUT)
    assert desk.record(suspect).job == before
    crew.may_end.set()
    for thread in (running, waiting):
        thread.join(TIMEOUT)
    job = desk.record(suspect).job
    assert (job.status, job.alone, job.attempts, job.fence) == (Status.COMPLETED, True, 1, 2)
    assert process.takes_jobs


def test_a_suspect_that_is_rung_for_while_it_waits_runs_at_its_turn() -> None:
    process = Process()
    desk = Desk(crew := BlockedCrew(), process=process)
    ordinary, suspect = desk.submit(), lost_by_another_process(desk)
    running, waiting = side_by_side(desk, ordinary, suspect)
    wait_until(lambda: not process.takes_jobs, within=TIMEOUT)
    swept = Sweeper(desk.store, desk.doorbell, desk.clock, POLICY).sweep(desk.clock() + timedelta(minutes=1))
    assert swept[Swept.RUNG] == 1
    crew.may_end.set()
    for thread in (running, waiting):
        thread.join(TIMEOUT)
    assert (desk.record(suspect).job.status, len(crew.inputs)) == (Status.COMPLETED, 2)


def test_a_bell_whose_job_ended_while_it_waited_is_dropped() -> None:
    process = Process()
    desk = Desk(crew := BlockedCrew(), process=process)
    ordinary, suspect = desk.submit(), lost_by_another_process(desk)
    running, waiting = side_by_side(desk, ordinary, suspect)
    wait_until(lambda: not process.takes_jobs, within=TIMEOUT)
    before = desk.record(suspect).job
    desk.store.save(before, transitions.cancel(before, desk.clock()))
    crew.may_end.set()
    for thread in (running, waiting):
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert (len(crew.inputs), desk.doorbell.rings) == (1, [])
    assert process.takes_jobs


def test_a_job_that_takes_long_makes_room_for_a_suspect() -> None:
    process = Process()
    desk = Desk(crew := BlockedCrew(), HASTY, process=process)
    ordinary, suspect = desk.submit(), lost_by_another_process(desk)
    running, waiting = side_by_side(desk, ordinary, suspect)
    running.join(TIMEOUT / 2)  # it had twice as long
    given_back = desk.record(ordinary).job
    assert (given_back.status, given_back.relays, given_back.strikes) == (Status.PENDING, 1, 0)
    wait_until(lambda: len(crew.inputs) == 2, within=TIMEOUT)
    crew.may_end.set()
    waiting.join(TIMEOUT)
    assert desk.record(suspect).job.status is Status.COMPLETED


def test_a_job_whose_turn_does_not_come_before_the_deadline_is_left_and_rung_for() -> None:
    process = Process()
    desk = Desk(Crew(), process=process)
    suspect, ordinary = lost_by_another_process(desk), desk.submit()
    before = desk.record(suspect).job, desk.record(ordinary).job
    with process.visit() as other:
        assert other.may_share(0)
        desk.run(suspect, seconds=0.05)
    with process.visit() as other:
        assert other.may_run_alone(0, 0, 0)
        desk.run(ordinary, seconds=0.05)
    assert (desk.record(suspect).job, desk.record(ordinary).job) == before
    assert desk.doorbell.rings == [suspect, ordinary]
