"""The lease of a job that runs: how it is renewed, and what whoever lost it may not do any more."""

import threading
from datetime import datetime, timedelta

import pytest

from crewrelay.jobs.errors import Misconfigured, ServiceRefused, Unavailable
from crewrelay.jobs.ports import Calls, JobRecord
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.system import utcnow
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import HandSetClock
from tests.support.live_executions import ANSWER, HASTY, INPUT, POLICY, BlockedCrew, Crew, Desk, WatchedStore


def test_the_lease_is_renewed_for_as_long_as_the_crew_runs() -> None:
    desk = Desk(crew := BlockedCrew(), HASTY)
    leases: list[datetime | None] = []

    def renewing(job: Job) -> None:
        leases.append(job.lease_until)
        if len(leases) == 4:
            crew.may_end.set()

    desk.store.on_renewal = renewing
    job_id = desk.submit()
    desk.run(job_id)
    assert len(leases) >= 4
    assert leases == sorted(set(leases), key=str)
    job = desk.record(job_id).job
    assert (job.status, job.fence) == (Status.COMPLETED, 1)


def test_a_renewal_that_fails_once_does_not_end_the_run() -> None:
    desk = Desk(crew := BlockedCrew(), HASTY)
    renewals = 0

    def renewing(_: Job) -> None:
        nonlocal renewals
        renewals += 1
        if renewals == 1:
            raise Unavailable("The table did not answer.")
        crew.may_end.set()

    desk.store.on_renewal = renewing
    job_id = desk.submit()
    desk.run(job_id)
    assert renewals >= 2
    job, _, answer, *_ = desk.record(job_id)
    assert (job.status, job.fence, answer) == (Status.COMPLETED, 1, ANSWER)


def test_a_run_whose_lease_was_stolen_stops_quietly() -> None:
    desk = Desk(crew := BlockedCrew(), HASTY)
    job_id = desk.submit()
    rivals: list[Job] = []

    def renewing(_: Job) -> None:
        rivals.append(desk.claim_by_a_rival(job_id))

    desk.store.on_renewal = renewing
    desk.run(job_id)
    crew.may_end.set()
    desk.join_crew(job_id)
    assert [desk.record(job_id).job] == rivals
    assert desk.doorbell.rings == []


class CallingCrew(BlockedCrew):
    """Makes one call once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.paid = 0

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        self._wait(job_input)
        calls.call(Kind.MODEL, {"asked": "one more"}, self._pay)
        return ANSWER

    def _pay(self) -> Reply:
        self.paid += 1
        return Reply(body="yes")


def void(_: object) -> None: ...


def test_a_crew_whose_lease_was_stolen_pays_for_nothing_more() -> None:
    desk = Desk(crew := CallingCrew(), Policy(lease=timedelta(seconds=3)))  # renewed after a second
    job_id = desk.submit()
    desk.store.on_renewal = lambda _: void(desk.claim_by_a_rival(job_id))
    desk.run(job_id)
    crew.may_end.set()
    desk.join_crew(job_id)
    assert crew.paid == 0


def test_an_answer_that_comes_after_the_lease_was_stolen_is_not_the_jobs() -> None:
    rivals: list[Job] = []

    def script(_: JobInput) -> Answer:
        rivals.append(desk.claim_by_a_rival(job_id))
        return ANSWER

    desk = Desk(Crew(script))
    job_id = desk.submit()
    desk.run(job_id)
    assert desk.record(job_id) == JobRecord(rivals[0], INPUT, None)


def test_a_job_cancelled_while_it_runs_stays_cancelled() -> None:
    def script(_: JobInput) -> Answer:
        running = desk.record(job_id).job
        desk.store.save(running, transitions.cancel(running, utcnow()))
        raise ValueError("the crew was interrupted")

    desk = Desk(Crew(script))
    job_id = desk.submit()
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.error) == (Status.CANCELLED, None)


class RenewedAfterTheLoad(WatchedStore):
    """The holder is late, not dead: it renews its lease just after somebody has looked."""

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        record = super().load(job_id, tenant)
        if record and record.job.status is Status.RUNNING:
            MemoryJobStore.save(self, record.job, transitions.renew(record.job, self._clock(), POLICY))
        return record


@pytest.mark.parametrize("max_attempts", [1, 5])
def test_a_holder_that_renews_in_time_keeps_its_job(clock: HandSetClock, max_attempts: int) -> None:
    desk = Desk(Crew(), Policy(max_attempts=max_attempts), clock, store=RenewedAfterTheLoad(clock))
    job_id = desk.submit()
    holder = desk.claim_by_a_rival(job_id)
    clock.pass_(minutes=10)
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.fence, job.holder) == (Status.RUNNING, holder.fence, holder.holder)
    assert desk.crew.inputs == []


@pytest.mark.parametrize("surprise", [OSError("an urllib3 surprise"), Misconfigured("no"), ServiceRefused("rotated")])
def test_a_renewal_that_fails_in_an_unexpected_way_costs_nothing_while_the_lease_stands(surprise: Exception) -> None:
    desk = Desk(crew := BlockedCrew(), policy=HASTY.model_copy(update={"lease": timedelta(seconds=3)}))
    failed = threading.Event()

    def fail_once(_: Job) -> None:
        if not failed.is_set():
            failed.set()
            crew.may_end.set()
            raise surprise

    desk.store.on_renewal = fail_once
    job_id = desk.submit()
    desk.run(job_id)
    assert failed.is_set()
    assert desk.record(job_id).job.status is Status.COMPLETED
