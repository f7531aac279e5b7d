"""What a bell does: it runs one job, once, and nothing that has ended, is gone or is not yet due."""

import threading
from datetime import timedelta

from crewrelay.jobs.records.job import Status
from crewrelay.jobs.running.process import Process
from tests.support.fixtures import HandSetClock
from tests.support.live_executions import ANSWER, INPUT, TIMEOUT, BlockedCrew, Crew, Desk


def test_a_crew_that_ends_completes_the_job() -> None:
    desk = Desk(Crew())
    job_id = desk.submit()
    desk.run(job_id)
    job, job_input, answer, *_ = desk.record(job_id)
    assert (job.status, job.attempts, job.error) == (Status.COMPLETED, 1, None)
    assert answer == ANSWER
    assert desk.crew.inputs == [job_input] == [INPUT]
    assert desk.doorbell.rings == []


def test_a_bell_for_a_finished_job_runs_nothing() -> None:
    desk = Desk(Crew())
    job_id = desk.submit()
    desk.run(job_id)
    before = desk.record(job_id)
    desk.run(job_id)
    assert desk.record(job_id) == before
    assert len(desk.crew.inputs) == 1


def test_a_bell_for_a_job_that_is_gone_runs_nothing(clock: HandSetClock) -> None:
    desk = Desk(Crew(), clock=clock)
    job_id = desk.submit()
    clock.pass_(days=31)
    desk.run(job_id)
    desk.run("never submitted")
    assert desk.crew.inputs == []


def test_a_bell_before_its_time_runs_nothing(clock: HandSetClock) -> None:
    desk = Desk(Crew(), clock=clock)
    job_id = desk.submit()
    pending = desk.record(job_id).job
    backing_off = pending.model_copy(update={"not_before": clock() + timedelta(minutes=2)})
    desk.store.save(pending, backing_off)
    desk.run(job_id)
    assert desk.record(job_id).job == backing_off
    assert desk.crew.inputs == []


def test_the_bell_of_a_submission_by_a_clock_a_little_ahead_is_not_lost(clock: HandSetClock) -> None:
    desk = Desk(Crew(), clock=clock)
    clock.pass_(milliseconds=50)
    job_id = desk.submit()
    clock.pass_(milliseconds=-50)  # the worker's clock
    desk.run(job_id)
    assert desk.record(job_id).job.status is Status.COMPLETED or desk.doorbell.rings == [job_id]


def test_a_second_bell_while_the_job_runs_returns_at_once() -> None:
    desk = Desk(crew := BlockedCrew())
    job_id = desk.submit()
    first = threading.Thread(target=desk.run, args=(job_id,))
    first.start()
    assert crew.started.wait(TIMEOUT)
    second = threading.Thread(target=desk.run, args=(job_id,))
    second.start()
    second.join(TIMEOUT / 2)
    assert not second.is_alive()
    assert first.is_alive()  # the crew was blocked all the while: the second waited for nothing
    crew.may_end.set()
    first.join(TIMEOUT)
    assert len(crew.inputs) == 1
    assert desk.record(job_id).job.status is Status.COMPLETED


def test_a_bell_for_a_job_that_is_not_to_be_run_waits_for_nobody() -> None:
    process = Process()
    desk = Desk(Crew(), process=process)
    job_id = desk.submit()
    desk.run(job_id)
    with process.visit() as suspect:
        assert suspect.may_run_alone(0, 0, 0)
        desk.run(job_id)
    assert desk.doorbell.rings == []
