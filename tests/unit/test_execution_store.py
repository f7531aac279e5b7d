"""Whatever the job store does, a job is run to its end and is not blamed."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from crewrelay.crews.models.failures import ToolUnavailable
from crewrelay.jobs.errors import ServiceRefused, Unavailable
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.system import utcnow
from tests.support.fixtures import HandSetClock
from tests.support.live_executions import ANSWER, Crew, Desk, ScriptedCalls, WatchedStore


class AnswerlessStore(WatchedStore):
    def put_answer(self, job: Job, answer: Answer) -> None:
        raise Unavailable("The table did not answer.")


def test_a_table_that_refuses_the_answer_leaves_the_job_to_its_lease() -> None:
    desk = Desk(Crew(), store=AnswerlessStore(utcnow))
    job_id = desk.submit()
    with pytest.raises(Unavailable):
        desk.run(job_id)
    job = desk.record(job_id).job
    assert job.status is Status.RUNNING
    assert job.due_at == job.lease_until is not None


class RefusingStore(WatchedStore):
    """Refuses the receipts, once or always."""

    refusals = 0

    def save(self, before: Job, after: Job) -> None:
        if after.receipt != before.receipt and self.refusals:
            self.refusals -= 1
            raise ServiceRefused("The table refused the request: UnrecognizedClientException.")
        super().save(before, after)


@pytest.mark.parametrize("refusals", [1, 1000])
def test_what_the_table_refuses_is_never_the_jobs_fault(clock: HandSetClock, refusals: int) -> None:
    def script(job_input: JobInput, calls: Calls) -> Answer:
        for number in range(3):
            calls.call(Kind.MODEL, {"asked": number}, lambda: Reply(body="reply"))
        return ANSWER

    desk = Desk(ScriptedCalls(script), clock=clock, store=RefusingStore(clock))
    assert isinstance(desk.store, RefusingStore)
    desk.store.refusals = refusals
    job_id = desk.submit()
    with suppress(Unavailable):  # then the message comes again
        desk.run(job_id)
    assert desk.record(job_id).job.status is not Status.FAILED
    desk.store.refusals = 0
    clock.pass_(minutes=5)
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.error, job.receipt.calls_paid) == (Status.COMPLETED, None, 3)


class SlowJournal(WatchedStore):
    """Each entry takes five seconds to be read: the journal takes longer than a lease lasts."""

    shortest_left = timedelta(days=1)  # of the lease

    def journal(self, job: Job) -> Iterator[Call]:
        for call in super().journal(job):
            self._clock.pass_(seconds=5)  # type: ignore[attr-defined]
            record = self.load(job.id)
            assert record
            assert record.job.lease_until
            self.shortest_left = min(self.shortest_left, record.job.lease_until - self._clock())
            yield call


def test_a_journal_that_takes_longer_to_read_than_a_lease_lasts_is_read_under_one_lease(clock: HandSetClock) -> None:
    store = SlowJournal(clock)
    calls_made = 30

    def script(job_input: JobInput, calls: Calls) -> Answer:
        for number in range(calls_made):
            calls.call(Kind.MODEL, {"asked": number}, lambda: Reply(body="reply"))
        if first_attempt:
            raise ToolUnavailable("weather") from TimeoutError("too slow")
        return ANSWER

    first_attempt = True
    desk = Desk(ScriptedCalls(script), clock=clock, store=store)
    job_id = desk.submit()
    desk.run(job_id)
    first_attempt = False
    clock.pass_(minutes=5)
    desk.run(job_id, seconds=900)
    job = desk.record(job_id).job
    assert (job.status, job.attempts) == (Status.COMPLETED, 2)
    assert store.shortest_left >= desk.policy.lease / 2  # nobody could have claimed it meanwhile
