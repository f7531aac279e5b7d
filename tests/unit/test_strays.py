"""Crews that go on though their run is over: what becomes of their job, and of the process."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta

import pytest

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import Failure, JobInput, Status
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.process import Process
from crewrelay.jobs.running.stray import Stray
from tests.support.live_executions import ANSWER, TIMEOUT, Crew, Desk
from tests.support.runs import reply
from tests.support.waiting import wait_until

GRACE = 0.05
TWO_STRIKES = Policy(max_strikes=2, call_floor=timedelta())


class Parser(Crew):
    """Asks the model once, and then is busy until it may end: by itself, or in a call of its own."""

    def __init__(self, kind: Kind | None = None) -> None:
        super().__init__()
        self.may_end = threading.Event()
        self._kind = kind

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        calls.call(Kind.MODEL, {"asked": "a question"}, lambda: reply("an endless one"))
        if self._kind is None:
            self.parse_for_ever()
        else:
            calls.call(self._kind, {"asked": "another"}, self.late_reply)
        return ANSWER

    def late_reply(self) -> Reply:
        self.parse_for_ever()
        return reply("late")

    def parse_for_ever(self) -> None:
        assert self.may_end.wait(TIMEOUT)


@pytest.fixture
def process() -> Process:
    return Process()


NewDesk = Callable[..., Desk]


@pytest.fixture
def new_desk(process: Process) -> Iterator[NewDesk]:
    parsers: list[Parser] = []

    def new(kind: Kind | None = None, policy: Policy = TWO_STRIKES) -> Desk:
        parsers.append(Parser(kind))
        return Desk(parsers[-1], policy, process=process)

    yield new
    for parser in parsers:
        parser.may_end.set()


def finish(desk: Desk, job_id: str) -> None:
    assert isinstance(desk.crew, Parser)
    desk.crew.may_end.set()
    desk.join_crew(job_id)


@pytest.mark.parametrize("kind", [None, Kind.TOOL])
def test_a_crew_that_does_not_stop_is_a_strike_and_the_process_is_started_anew(
    new_desk: NewDesk, process: Process, caplog: pytest.LogCaptureFixture, kind: Kind | None
) -> None:
    desk = new_desk(kind)
    job_id = desk.submit()
    with caplog.at_level(logging.WARNING, "crewrelay"):
        desk.run(job_id, seconds=0.1, grace=GRACE)
    job = desk.record(job_id).job
    assert (job.status, job.strikes, job.relays) == (Status.PENDING, 1, 1)
    assert desk.doorbell.rings == [job_id]
    assert not process.takes_jobs
    assert not process.is_sound(0)
    (line,) = [line for line in caplog.records if line.name == "crewrelay.jobs.running.process"]
    assert vars(line)["job_id"] == job_id
    assert "parse_for_ever" in str(vars(line)["where"])


def test_a_job_whose_crew_does_not_stop_again_and_again_fails_and_says_where_it_was(new_desk: NewDesk) -> None:
    desk = new_desk()
    job_id = desk.submit()
    for _ in range(TWO_STRIKES.max_strikes):
        desk.run(job_id, seconds=0.1, grace=GRACE)
    job = desk.record(job_id).job
    assert (job.status, job.strikes) == (Status.FAILED, 2)
    assert job.error
    assert job.error.type == "crew_stuck"
    assert "2 times" in job.error.message
    assert "threading.py" in job.error.message
    assert job.receipt.calls_paid == 1


def test_a_strike_is_forgotten_once_the_journal_grows_or_the_job_is_retried(new_desk: NewDesk) -> None:
    desk = new_desk()
    job = transitions.strike(desk.record(desk.submit()).job)
    now = desk.clock()
    running = transitions.claim(job, "one", "crew-1", now, TWO_STRIKES)
    assert running.strikes == 1
    assert transitions.paid(running, job.receipt, now, TWO_STRIKES).strikes == 0
    failed = transitions.fail(running, Failure(type="crew_stuck", message=""), now)
    assert transitions.retry(failed, now, TWO_STRIKES).strikes == 0


@pytest.mark.parametrize("kind", [Kind.MODEL, Kind.RETRIEVAL])
def test_a_crew_that_only_waits_for_a_reply_is_relayed_and_given_more_time(
    new_desk: NewDesk, process: Process, kind: Kind
) -> None:
    desk = new_desk(kind)
    job_id = desk.submit()
    desk.run(job_id, seconds=0.1, grace=GRACE)
    job = desk.record(job_id).job
    assert (job.status, job.strikes, job.relays) == (Status.PENDING, 0, 1)
    assert process.takes_jobs
    assert process.is_sound(0)
    finish(desk, job_id)
    assert process.is_sound(0)
    assert process.takes_jobs


def test_a_reply_that_never_comes_costs_the_process_in_the_end(new_desk: NewDesk, process: Process) -> None:
    desk = new_desk(Kind.MODEL)
    desk.run(desk.submit(), seconds=0.1, grace=GRACE)
    looks = next(look for look in range(1000) if not process.is_sound(0))
    assert looks >= 60  # one a second: the model's own timeout ends such a call as a rule
    assert not process.takes_jobs


def test_a_request_waits_for_no_crew_and_the_process_sees_later_whether_it_came_back(
    new_desk: NewDesk, process: Process
) -> None:
    desk = new_desk()
    job_id = desk.submit()
    desk.run(job_id, seconds=0.1)
    job = desk.record(job_id).job
    assert (job.status, job.strikes) == (Status.PENDING, 0)
    assert process.takes_jobs
    assert not process.is_sound(GRACE)
    assert not process.takes_jobs


def test_a_crew_that_is_cancelled_and_does_not_stop_costs_the_process_too(new_desk: NewDesk, process: Process) -> None:
    desk = new_desk(policy=Policy(lease=timedelta(seconds=0.15), call_floor=timedelta()))  # renewed every 50 ms
    job_id = desk.submit()
    running = threading.Thread(target=desk.run, args=(job_id,))
    running.start()
    wait_until(lambda: desk.record(job_id).job.receipt.calls_paid, within=TIMEOUT)
    wait_until(lambda: cancelled(desk, job_id), within=TIMEOUT)
    running.join(TIMEOUT)
    assert not running.is_alive()
    assert not process.is_sound(GRACE)


def cancelled(desk: Desk, job_id: str) -> bool:
    before = desk.record(job_id).job
    try:
        desk.store.save(before, transitions.cancel(before, desk.clock()))
    except StaleWrite:  # it was renewed meanwhile
        return False
    return True


def test_a_crew_that_stops_late_leaves_the_process_as_it_was(new_desk: NewDesk, process: Process) -> None:
    desk = new_desk()
    job_id = desk.submit()
    desk.run(job_id, seconds=0.1)
    finish(desk, job_id)
    assert process.is_sound(0)
    assert process.takes_jobs


def test_the_jobs_of_a_process_that_is_to_be_started_anew_are_given_back_in_time(
    new_desk: NewDesk, process: Process
) -> None:
    desk = new_desk(policy=Policy(lease=timedelta(seconds=0.3), call_floor=timedelta()))
    job_id = desk.submit()
    running = threading.Thread(target=desk.run, args=(job_id,), kwargs={"seconds": 1000})
    running.start()
    wait_until(lambda: desk.record(job_id).job.receipt.calls_paid, within=TIMEOUT)
    process.retired = True
    running.join(TIMEOUT)
    assert not running.is_alive()
    job = desk.record(job_id).job
    assert (job.status, job.relays) == (Status.PENDING, 1)
    assert desk.doorbell.rings == [job_id]


def test_a_job_that_ends_early_for_the_sake_of_others_is_not_struck(new_desk: NewDesk, process: Process) -> None:
    desk = new_desk(Kind.TOOL, Policy(lease=timedelta(seconds=0.15), call_floor=timedelta()))
    process.retire(Stray("another", "a thread", Future(), lambda: False))
    job_id = desk.submit()
    desk.run(job_id, seconds=TIMEOUT, grace=GRACE)
    job = desk.record(job_id).job
    assert (job.status, job.strikes, job.stalled, job.relays) == (Status.PENDING, 0, 0, 1)
