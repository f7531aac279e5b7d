"""At its deadline a worker gives its job back, and whatever its crew still does changes nothing."""

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput, Status
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.records.policy import Budget, Policy
from tests.support.fixtures import HandSetClock
from tests.support.live_executions import ANSWER, TIMEOUT, BlockedCrew, Crew, Desk, ScriptedCalls


def test_at_the_deadline_the_job_is_given_back_and_rung_for_once() -> None:
    desk = Desk(crew := BlockedCrew())
    job_id = desk.submit()
    desk.run(job_id, seconds=0.05)
    assert crew.started.wait(TIMEOUT)
    released = desk.record(job_id)
    assert (released.job.status, released.job.holder, released.job.relays) == (Status.PENDING, None, 1)
    assert desk.doorbell.rings == [job_id]

    crew.may_end.set()
    desk.join_crew(job_id)
    assert desk.record(job_id) == released  # the late result changes nothing
    assert desk.doorbell.rings == [job_id]


def test_a_job_given_back_is_run_again_while_its_zombie_still_lives() -> None:
    desk = Desk(zombie := BlockedCrew())
    job_id = desk.submit()
    desk.run(job_id, seconds=0.05)
    second = Desk(Crew(lambda _: ANSWER.model_copy(update={"text": "the second"})), store=desk.store)
    second.run(job_id)
    zombie.may_end.set()
    desk.join_crew(job_id)
    job, _, answer, *_ = desk.record(job_id)
    assert (job.status, job.fence, job.relays) == (Status.COMPLETED, 2, 1)
    assert answer is not None
    assert answer.text == "the second"


def test_a_job_is_given_back_even_if_nobody_can_be_rung_for_and_is_due_for_the_sweeper() -> None:
    desk = Desk(crew := BlockedCrew())
    desk.doorbell.out_of_order = True
    job_id = desk.submit()
    desk.run(job_id, seconds=0.02)
    crew.may_end.set()
    job = desk.record(job_id).job
    assert job.status is Status.PENDING
    assert job.due_at is not None


def test_a_deadline_already_past_gives_the_job_back_at_once() -> None:
    desk = Desk(crew := BlockedCrew())
    job_id = desk.submit()
    desk.run(job_id, seconds=-1)
    crew.may_end.set()
    assert desk.record(job_id).job.status is Status.PENDING


def test_a_crew_that_never_comes_back_does_not_keep_its_process_alive() -> None:
    desk = Desk(crew := BlockedCrew())
    job_id = desk.submit()
    desk.run(job_id, seconds=0.02)
    assert crew.started.wait(TIMEOUT)
    assert [thread.daemon for thread in threading.enumerate() if thread.name == f"crew-{job_id}"] == [True]
    crew.may_end.set()


class TirelessCrew(Crew):
    """Makes one call after the other, and never ends by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.paid = 0
        self.third_call = threading.Event()
        self.stopped = threading.Event()

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        try:
            while True:
                calls.call(Kind.MODEL, {"asked": self.paid}, self._pay)
        except BaseException:
            self.stopped.set()
            raise

    def _pay(self) -> Reply:
        self.paid += 1
        if self.paid == 3:
            self.third_call.set()
        return Reply(body="reply")


class Interrupted(BaseException):
    """Such as the SystemExit or KeyboardInterrupt of a thread that waits."""


def test_whatever_ends_the_wait_no_call_begins_once_the_handler_has_answered() -> None:
    crew = TirelessCrew()

    def interrupt(outcome: "Future[Any]", seconds: float) -> bool:
        assert crew.third_call.wait(TIMEOUT)
        raise Interrupted

    desk = Desk(crew, policy=Policy(budget=Budget(calls=1_000_000)), wait=interrupt)
    with pytest.raises(Interrupted):
        desk.run(desk.submit())
    assert crew.stopped.wait(TIMEOUT)  # without the stop it would go on for ever


def test_a_job_of_forty_calls_outlives_forty_workers(clock: HandSetClock) -> None:
    """Each worker has time for one call: far more relays than Lambda lets a function ring for itself."""
    asked: list[int] = []

    def ask(number: int) -> Reply:
        asked.append(number)
        clock.pass_(seconds=60)
        return Reply(body="reply")

    def script(job_input: JobInput, calls: Calls) -> Answer:
        for number in range(40):
            calls.call(Kind.MODEL, {"asked": number}, lambda number=number: ask(number))  # type: ignore[misc]
        return ANSWER

    desk = Desk(ScriptedCalls(script), clock=clock)
    job_id = desk.submit()
    while not desk.record(job_id).job.status.finished:
        desk.run(job_id, seconds=90, first_call_is_free=True)
    job = desk.record(job_id).job
    assert (job.status, job.relays, job.receipt.calls_paid) == (Status.COMPLETED, 39, 40)
    assert asked == list(range(40))
