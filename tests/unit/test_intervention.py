"""What a caller may do to a job, whatever state it is in and whoever else is at it."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from crewrelay.jobs.errors import JobFinished, JobUnfinished, StaleWrite, TooManyJobs, Unavailable, UnknownJob
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Receipt, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
ANSWER = Answer(text="an answer", usage=Usage(model="scripted/one"))
FAILURE = Failure(type="TimeoutError", message="The model did not answer.", retryable=True)
STATES = ("pending", "backing off", "running", "running on a lease that ran out", "completed", "failed", "cancelled")


class Table(MemoryJobStore):
    """Somebody else may be at the job between a look and the write that follows."""

    rival: Callable[[Job], None] = staticmethod(lambda job: None)
    looks = 0

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        record = super().load(job_id, tenant)
        self.looks += 1
        if record:
            self.rival(record.job)
        return record


class Office:
    """One job of the tenant acme, and its callers' desk."""

    def __init__(self, clock: HandSetClock) -> None:
        self.clock = clock
        self.table = Table(clock)
        self.doorbell = MemoryDoorbell()
        self.desk = Intervention(self.table, self.doorbell, clock, POLICY)
        self.table.create(transitions.submit("an-id", "acme", INPUT, clock(), POLICY), INPUT)

    @property
    def record(self) -> JobRecord:
        record = MemoryJobStore.load(self.table, "an-id")
        assert record is not None
        return record

    @property
    def job(self) -> Job:
        return self.record.job

    def move(self, transition: Callable[[Job], Job]) -> Job:
        before = self.job
        after = transition(before)
        self.table.save(before, after)
        return after

    def claim(self) -> Job:
        return self.move(lambda job: transitions.claim(job, "a worker", "crew-1", self.clock(), POLICY))

    def bring(self, state: str) -> Job:
        """The job, into this state."""
        if state == "cancelled":
            return self.move(lambda job: transitions.cancel(job, self.clock()))
        if state == "pending":
            return self.job
        running, now = self.claim(), self.clock()
        if state == "backing off":
            return self.move(lambda job: transitions.back_off(job, FAILURE, now, now + timedelta(minutes=8), POLICY))
        if state == "running on a lease that ran out":
            self.clock.pass_(minutes=2)
        if state == "completed":
            self.table.put_answer(running, ANSWER)
            return self.move(lambda job: transitions.complete(job, now))
        return self.move(lambda job: transitions.fail(job, FAILURE, now)) if state == "failed" else running


@pytest.fixture
def office(clock: HandSetClock) -> Office:
    return Office(clock)


# ---- cancel


@pytest.mark.parametrize("state", [state for state in STATES if state not in ("completed", "failed")])
def test_a_job_that_has_not_ended_is_cancelled_and_stays_so(office: Office, state: str) -> None:
    office.bring(state)
    record = office.desk.cancel("acme", "an-id")
    assert record == office.record
    assert (record.job.status, record.job.due_at, record.job.lease_until) == (Status.CANCELLED, None, None)
    office.clock.pass_(minutes=1)
    assert office.desk.cancel("acme", "an-id") == record
    assert office.doorbell.rings == []


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_a_job_that_has_ended_is_not_cancelled(office: Office, state: str) -> None:
    before = office.bring(state)
    with pytest.raises(JobFinished, match=f"already {state}"):
        office.desk.cancel("acme", "an-id")
    assert office.job == before


def test_whoever_runs_a_cancelled_job_can_write_no_more(office: Office) -> None:
    running = office.bring("running")
    office.desk.cancel("acme", "an-id")
    with pytest.raises(StaleWrite):
        office.table.save(running, transitions.complete(running, office.clock()))
    with pytest.raises(StaleWrite):
        office.claim()


# ---- retry


@pytest.mark.parametrize("end", [{"minutes": 5}, {"hours": 30}], ids=["at once", "past its end"])
def test_a_failed_job_is_pending_again_with_all_its_time_and_is_rung_for(office: Office, end: dict[str, float]) -> None:
    office.bring("failed")
    office.clock.pass_(**end)
    job = office.desk.retry("acme", "an-id").job
    assert job == office.job
    assert (job.status, job.error, job.finished_at, job.stalled) == (Status.PENDING, None, None, 0)
    assert job.end_by == office.clock() + POLICY.max_age
    assert office.doorbell.rings == ["an-id"]
    again = office.claim()
    assert (again.fence, again.attempts) == (2, 2)
    assert transitions.reason_to_give_up(again, office.clock(), POLICY) is None
    assert transitions.run_until(again, POLICY) == office.clock() + POLICY.budget.runtime


def test_a_retried_job_keeps_its_journal_and_what_it_has_cost(office: Office) -> None:
    running = office.claim()
    call = Call(digest="d", nth=0, kind=Kind.MODEL, seconds=1, reply=Reply(body='"yes"', prompt_tokens=10))
    office.table.put_call(running, call)
    receipt = Receipt(calls_paid=1, prompt_tokens=10)
    office.move(lambda job: transitions.paid(job, receipt, office.clock(), POLICY))
    office.move(lambda job: transitions.fail(job, FAILURE, office.clock()))
    job = office.desk.retry("acme", "an-id").job
    assert job.receipt == receipt
    assert list(office.table.journal(job)) == [call]


@pytest.mark.parametrize(("state", "rung"), [("pending", True), ("backing off", True), ("running", False)])
def test_a_job_under_way_is_left_to_go_on(office: Office, state: str, rung: bool) -> None:
    before = office.bring(state)
    assert office.desk.retry("acme", "an-id").job == office.job == before
    assert office.doorbell.rings == ["an-id"] * rung


@pytest.mark.parametrize("state", ["completed", "cancelled"])
def test_a_job_that_ended_well_or_was_cancelled_is_not_tried_again(office: Office, state: str) -> None:
    before = office.bring(state)
    with pytest.raises(JobFinished, match=f"is {state}"):
        office.desk.retry("acme", "an-id")
    assert office.job == before
    assert office.doorbell.rings == []


def test_a_second_retry_changes_nothing(office: Office) -> None:
    office.bring("failed")
    first = office.desk.retry("acme", "an-id")
    office.clock.pass_(seconds=10)
    assert office.desk.retry("acme", "an-id") == first


def test_a_retry_stands_although_nobody_can_be_rung_for(office: Office) -> None:
    office.bring("failed")
    office.doorbell.out_of_order = True
    job = office.desk.retry("acme", "an-id").job
    assert (office.job.status, job.due_at) == (Status.PENDING, office.clock() + POLICY.ring_again)


# ---- other tenants, and rivals


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("what", ["cancel", "retry"])
def test_another_tenants_job_does_not_exist(office: Office, state: str, what: str) -> None:
    before = office.bring(state)
    with pytest.raises(UnknownJob) as theirs:
        getattr(office.desk, what)("globex", "an-id")
    with pytest.raises(UnknownJob) as nobodys:
        getattr(office.desk, what)("acme", "never submitted")
    assert str(theirs.value).replace("an-id", "ID") == str(nobodys.value).replace("never submitted", "ID")
    assert office.job == before
    assert office.doorbell.rings == []


def test_a_job_that_is_claimed_meanwhile_is_cancelled_all_the_same(office: Office) -> None:
    claimed: list[Job] = []

    def rival(_: Job) -> None:
        if not claimed:
            claimed.append(office.claim())

    office.table.rival = rival
    job = office.desk.cancel("acme", "an-id").job
    assert office.job == job
    assert (job.status, job.fence) == (Status.CANCELLED, 1)


def test_a_job_that_ends_meanwhile_is_not_cancelled(office: Office) -> None:
    office.bring("running")

    def rival(job: Job) -> None:
        if job.status is Status.RUNNING:
            office.move(lambda job: transitions.fail(job, FAILURE, office.clock()))

    office.table.rival = rival
    with pytest.raises(JobFinished):
        office.desk.cancel("acme", "an-id")
    assert office.job.status is Status.FAILED


def test_a_failed_job_that_another_caller_retried_meanwhile_is_left_to_go_on(office: Office) -> None:
    office.bring("failed")

    def rival(job: Job) -> None:
        if job.status is Status.FAILED:
            office.move(lambda job: transitions.retry(job, office.clock(), POLICY))
            office.claim()

    office.table.rival = rival
    assert office.desk.retry("acme", "an-id").job == office.job
    assert office.job.status is Status.RUNNING
    assert office.doorbell.rings == []


def test_a_job_that_changes_hands_without_end_is_unavailable_after_a_few_tries(office: Office) -> None:
    def rival(job: Job) -> None:
        if job.status is Status.PENDING:
            office.claim()
        else:
            office.move(lambda job: transitions.relay(job, office.clock(), POLICY))

    office.table.rival = rival
    with pytest.raises(Unavailable, match="is being changed by others"):
        office.desk.cancel("acme", "an-id")
    assert 2 <= office.table.looks <= 10


def test_a_retry_that_would_be_one_job_too_many_is_refused(office: Office) -> None:
    office.bring("failed")
    office.table.create(transitions.submit("another", "acme", INPUT, office.clock(), POLICY), INPUT)
    desk = Intervention(office.table, office.doorbell, office.clock, POLICY, most_unfinished=1)
    with pytest.raises(TooManyJobs):
        desk.retry("acme", "an-id")
    assert office.job.status is Status.FAILED
    desk.cancel("acme", "another")
    assert desk.retry("acme", "an-id").job.status is Status.PENDING
    assert desk.retry("acme", "an-id").job.status is Status.PENDING  # it is one of them by now


def test_a_failed_job_that_is_retried_meanwhile_is_not_deleted(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = office.bring("failed")
    looked = office.table.jobs

    def then_retried(job_ids: Sequence[str], tenant: str) -> list[Job]:
        found = looked(job_ids, tenant)
        if office.job == failed:
            office.move(lambda job: transitions.retry(job, office.clock(), POLICY))
        return found

    monkeypatch.setattr(office.table, "jobs", then_retried)
    with pytest.raises(JobUnfinished):
        office.desk.delete("acme", "an-id")
    assert office.job.status is Status.PENDING


def test_a_job_that_changes_without_end_is_not_deleted_and_its_caller_told(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.bring("failed")

    def refuse(job: Job) -> None:
        raise StaleWrite("job an-id was changed by another writer")

    monkeypatch.setattr(office.table, "delete", refuse)
    with pytest.raises(Unavailable, match="an-id"):
        office.desk.delete("acme", "an-id")
