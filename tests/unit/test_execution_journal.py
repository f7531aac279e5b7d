"""The journal of a job that is resumed: when it is read, for how long, and if it can't be."""

from datetime import timedelta

import pytest

from crewrelay.jobs.errors import DamagedJob, Unavailable
from crewrelay.jobs.ports import RelayDue
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Status
from tests.support.executions import Desk, ScriptedCrew, asks
from tests.support.fixtures import HandSetClock


def resumed_after(clock: HandSetClock, *questions: str) -> Desk:
    """A job that has paid for these and was relayed."""
    desk = Desk(clock, ScriptedCrew(asks(*questions, then=RelayDue("no time"))))
    desk.submit()
    desk.run()
    assert desk.job.status is Status.PENDING
    desk.crew.script = asks(*questions)
    desk.table.journals_read = 0
    desk.table.renewals.clear()
    return desk


def test_the_first_run_of_a_job_reads_no_journal_for_nobody_has_paid_yet(clock: HandSetClock) -> None:
    desk = Desk(clock, ScriptedCrew(asks("what?")))
    desk.submit()
    assert desk.run().status is Status.COMPLETED
    assert desk.table.journals_read == 0


def test_the_second_run_reads_it_and_pays_for_nothing_again(clock: HandSetClock) -> None:
    desk = resumed_after(clock, "what?", "why?")
    receipt = desk.run().receipt
    assert desk.table.journals_read == 1
    assert (receipt.calls_paid, receipt.calls_replayed) == (2, 2)


def test_while_it_is_read_the_lease_is_renewed_each_third_of_it_and_no_oftener(clock: HandSetClock) -> None:
    desk = resumed_after(clock, *(f"question {number}" for number in range(13)))
    desk.table.seconds_per_entry = 5
    begun = clock()
    assert desk.run().status is Status.COMPLETED
    assert [moment - begun for moment in desk.table.renewals] == [timedelta(seconds=at) for at in (20, 40, 60)]


def test_a_lease_that_is_lost_while_it_is_read_runs_nothing(clock: HandSetClock) -> None:
    desk = resumed_after(clock, "what?")
    desk.table.seconds_per_entry = 30

    def cancelled() -> None:
        desk.table.save(desk.job, transitions.cancel(desk.job, clock()))

    desk.table.before_a_renewal = cancelled
    assert desk.run().status is Status.CANCELLED
    assert desk.crew.runs == 1  # the one before


def test_a_job_whose_journal_is_out_of_reach_is_tried_again_later(clock: HandSetClock) -> None:
    desk = resumed_after(clock, "what?")
    desk.table.journal_error = Unavailable("The table did not answer.")
    desk.doorbell.rings.clear()
    before, job = desk.job, desk.run()
    assert (job.status, job.receipt, job.outages) == (Status.PENDING, before.receipt, 1)
    assert job.error
    assert job.error.type == "unavailable"
    assert job.not_before
    assert job.not_before > clock()
    assert desk.doorbell.rings == ["an-id"]
    assert desk.crew.runs == 1  # the one before


def test_a_job_whose_journal_is_damaged_fails_with_its_reason(clock: HandSetClock) -> None:
    desk = resumed_after(clock, "what?")
    desk.table.journal_error = DamagedJob("An entry of its journal can't be read.")
    before, job = desk.job, desk.run()
    assert (job.status, job.receipt, job.blamed) == (Status.FAILED, before.receipt, None)
    assert job.error
    assert job.error.type == "damaged_job"


@pytest.mark.parametrize("surprise", [KeyError("no such page"), MemoryError()])
def test_what_nobody_expects_of_a_journal_leaves_the_job_to_its_lease(clock: HandSetClock, surprise: Exception) -> None:
    desk = resumed_after(clock, "what?")
    desk.table.journal_error = surprise
    with pytest.raises(type(surprise)):
        desk.run()
    assert (desk.job.status, desk.job.due_at) == (Status.RUNNING, desk.job.lease_until)
