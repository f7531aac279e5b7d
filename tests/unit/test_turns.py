"""How long a job waits for its turn, and what its attempts count."""

from datetime import timedelta

import pytest

from crewrelay.jobs.answer import Answer
from crewrelay.jobs.job import Failure, JobInput, Status
from crewrelay.jobs.journal import Kind
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.process import Visit
from tests.conftest import HandSetClock
from tests.support.runs import reply
from tests.unit.test_execution import ANSWER, POLICY, TIMEOUT, BlockedCrew, Crew, Desk, lost_by_another_process


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
