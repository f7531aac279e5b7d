"""A claimed job in its holder's hands: every write is fenced, and once it is lost it stays lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Thread

import pytest

from crewrelay.jobs.errors import StaleWrite, Unavailable
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.journal import Receipt
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.lease import Lease
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import HandSetClock

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
TIMEOUT = 10  # seconds until a test that hangs gives up


class Table(MemoryJobStore):
    """Counts the writes it is asked for, and fails while it is out of order."""

    out_of_order = False
    writes = 0

    def save(self, before: Job, after: Job) -> None:
        self.writes += 1
        if self.out_of_order:
            raise Unavailable("The table did not answer.")
        super().save(before, after)


@pytest.fixture
def table(clock: HandSetClock) -> Table:
    return Table(clock)


@pytest.fixture
def lease(table: Table, clock: HandSetClock) -> Lease:
    submitted = table.create(transitions.submit("an-id", "acme", INPUT, clock(), POLICY), INPUT)
    job = transitions.claim(submitted, "me", "crew-1", clock(), POLICY)
    table.save(submitted, job)
    table.writes = 0
    return Lease(table, job, clock)


def standing(table: Table) -> Job:
    record = table.load("an-id")
    assert record is not None
    return record.job


def stolen(table: Table, clock: HandSetClock) -> Job:
    """The job as whoever claims it once the lease has run out has it."""
    clock.pass_(minutes=5)
    before = standing(table)
    after = transitions.claim(before, "a rival", "crew-1", clock(), POLICY)
    MemoryJobStore.save(table, before, after)
    return after


def counted(job: Job) -> Job:
    """One call more than before: what is lost between two threads can be seen."""
    receipt = Receipt(calls_paid=job.receipt.calls_paid + 1)
    return job.model_copy(update={"revision": job.revision + 1, "receipt": receipt})


def test_the_job_moves_on_in_the_table_and_in_its_holders_hands(
    table: Table, lease: Lease, clock: HandSetClock
) -> None:
    clock.pass_(seconds=20)
    moved = lease.advance(lambda job: transitions.renew(job, clock(), POLICY))
    assert moved == lease.job == standing(table)
    assert moved.lease_until == clock() + POLICY.lease


def test_a_write_that_fails_leaves_the_holder_where_it_was_and_may_be_tried_again(table: Table, lease: Lease) -> None:
    before = lease.job
    table.out_of_order = True
    with pytest.raises(Unavailable):
        lease.advance(counted)
    assert lease.job == before
    table.out_of_order = False
    lease.advance(counted)
    assert standing(table).receipt.calls_paid == 1


def test_a_holder_whose_job_was_stolen_is_refused_from_then_on(table: Table, lease: Lease, clock: HandSetClock) -> None:
    before, rival = lease.job, stolen(table, clock)
    with pytest.raises(StaleWrite, match="changed by another writer") as first:
        lease.advance(counted)
    assert table.writes == 1  # it is not tried again on the rival's row
    table.writes = 0
    with pytest.raises(StaleWrite) as second:
        lease.advance(counted)
    assert second.value is first.value
    assert table.writes == 0  # the table isn't even asked again
    assert (lease.job, standing(table)) == (before, rival)


def test_a_transition_that_may_not_happen_loses_the_job_without_a_write(table: Table, lease: Lease) -> None:
    with pytest.raises(StaleWrite, match="not failed"):
        lease.advance(lambda job: transitions.retry(job, job.created_at, POLICY))
    with pytest.raises(StaleWrite, match="not failed"):
        lease.advance(counted)
    assert table.writes == 0


def test_a_job_given_back_is_no_longer_its_holders(table: Table, lease: Lease, clock: HandSetClock) -> None:
    lease.advance(lambda job: transitions.relay(job, clock(), POLICY))
    with pytest.raises(StaleWrite):
        lease.advance(lambda job: transitions.renew(job, clock(), POLICY))
    assert standing(table).status is Status.PENDING


def test_a_late_write_of_a_holder_whose_lease_ran_out_unclaimed_is_taken(
    table: Table, lease: Lease, clock: HandSetClock
) -> None:
    clock.pass_(minutes=5)
    lease.advance(lambda job: transitions.renew(job, clock(), POLICY))
    assert standing(table).lease_until == clock() + timedelta(seconds=60)


def test_threads_take_turns_and_none_undoes_what_another_wrote(table: Table, lease: Lease) -> None:
    together = Barrier(8)

    def advance(_: int) -> None:
        together.wait(TIMEOUT)
        for _ in range(5):
            lease.advance(counted)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(advance, range(8)))
    assert standing(table).receipt.calls_paid == lease.job.receipt.calls_paid == 40


def test_a_holder_that_missed_the_reply_to_a_write_goes_on_from_it(
    table: Table, lease: Lease, clock: HandSetClock
) -> None:
    missed = counted(lease.job)
    MemoryJobStore.save(table, lease.job, missed)
    clock.pass_(seconds=20)
    assert lease.advance(lambda job: transitions.relay(job, clock(), POLICY)) == standing(table)
    assert (standing(table).status, standing(table).receipt.calls_paid) == (Status.PENDING, 1)


def test_a_holder_goes_on_after_the_sweeper_has_looked_at_its_job(
    table: Table, lease: Lease, clock: HandSetClock
) -> None:
    clock.pass_(minutes=2)
    MemoryJobStore.save(table, lease.job, transitions.postpone(lease.job, clock(), POLICY))
    lease.advance(lambda job: transitions.renew(job, clock(), POLICY))
    assert standing(table).lease_until == clock() + POLICY.lease


def test_the_first_try_of_a_write_that_arrives_late_is_refused(table: Table, lease: Lease, clock: HandSetClock) -> None:
    """The client gave it up and repeated it: the repeat, and what came after it, must stand."""
    before, first = lease.job, transitions.paid(lease.job, Receipt(calls_paid=1), clock(), POLICY)
    lease.advance(lambda job: first)
    clock.pass_(seconds=50)
    second = lease.advance(lambda job: transitions.paid(job, Receipt(calls_paid=2), clock(), POLICY))
    with pytest.raises(StaleWrite):
        MemoryJobStore.save(table, before, first)
    assert standing(table) == second
    assert not transitions.claimable(second, clock() + timedelta(seconds=20))


def test_a_transition_sees_what_another_thread_wrote_before_it(table: Table, lease: Lease) -> None:
    def slowly(job: Job) -> Job:
        rival.start()
        rival.join(0.2)  # which has to wait for this one; without a turn it is done long before
        return counted(job)

    rival = Thread(target=lease.advance, args=(counted,))
    lease.advance(slowly)
    rival.join(TIMEOUT)
    assert standing(table).receipt.calls_paid == lease.job.receipt.calls_paid == 2


def test_a_refused_transition_is_not_tried_again_while_the_row_stands(lease: Lease) -> None:
    tried: list[Job] = []

    def refuse(job: Job) -> Job:
        tried.append(job)
        raise StaleWrite("not now")

    with pytest.raises(StaleWrite):
        lease.advance(refuse)
    assert len(tried) == 1


def test_a_job_that_is_gone_is_lost(table: Table, lease: Lease) -> None:
    table._jobs.clear()
    with pytest.raises(StaleWrite):
        lease.advance(counted)
    assert table.writes == 1


def test_a_job_that_was_deleted_and_submitted_again_is_not_taken_for_the_old_one(
    table: Table, lease: Lease, clock: HandSetClock
) -> None:
    """Its id is that of the same idempotency key, and its fence begins anew."""
    running = standing(table)
    table.save(running, cancelled := transitions.cancel(running, clock()))
    table.delete(cancelled)
    again = table.create(transitions.submit("an-id", "acme", INPUT, clock(), POLICY), INPUT)
    rivals = transitions.claim(again, "a rival", "crew-1", clock(), POLICY)
    table.save(again, rivals)
    with pytest.raises(StaleWrite):
        lease.advance(lambda job: transitions.complete(job, clock()))
    table.save(rivals, renewed := transitions.renew(rivals, clock(), POLICY))
    other = Lease(table, running, clock)
    with pytest.raises(StaleWrite):
        other.advance(lambda job: transitions.complete(job, clock()))
    assert standing(table) == renewed
