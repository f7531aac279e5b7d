"""Accepted means durable: the row first, the bell second."""

import itertools
from collections.abc import Sequence

import pytest

from crewrelay.jobs.errors import IdempotencyConflict, TooManyJobs, Unavailable, UnknownJob
from crewrelay.jobs.ports import JobRecord, record_of_tenant
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.submission import Submission
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "neural networks", "language": "en"})
OTHER_INPUT = JobInput(crew="research", inputs={"topic": "something else", "language": "en"})


class NoTable(MemoryJobStore):
    def create(self, job: Job, job_input: JobInput, subscriptions: Sequence[Subscription] = ()) -> Job:
        raise Unavailable("The table did not answer.")


@pytest.fixture
def store(clock: HandSetClock) -> MemoryJobStore:
    return MemoryJobStore(clock)


@pytest.fixture
def doorbell() -> MemoryDoorbell:
    return MemoryDoorbell()


@pytest.fixture
def submission(store: MemoryJobStore, doorbell: MemoryDoorbell, clock: HandSetClock) -> Submission:
    ids = (f"id-{n}" for n in itertools.count(1))
    return Submission(store, doorbell, clock, lambda: next(ids), POLICY)


def test_an_enqueued_job_is_committed_and_rung_for(
    submission: Submission, store: MemoryJobStore, doorbell: MemoryDoorbell
) -> None:
    job = submission.submit("acme", INPUT)
    assert job.status is Status.PENDING
    assert record_of_tenant(store, "acme", job.id) == JobRecord(job, INPUT, None)
    assert doorbell.rings == [job.id]


def test_a_job_that_its_caller_runs_is_committed_and_left_to_the_sweeper(
    submission: Submission, store: MemoryJobStore, doorbell: MemoryDoorbell
) -> None:
    job = submission.accept("acme", INPUT)
    assert doorbell.rings == []
    assert record_of_tenant(store, "acme", job.id).job == job
    assert job.due_at is not None
    assert job.due_at > job.created_at + POLICY.lease


def test_a_bell_that_can_not_be_rung_does_not_undo_the_commit(
    submission: Submission, store: MemoryJobStore, doorbell: MemoryDoorbell
) -> None:
    doorbell.out_of_order = True
    job = submission.submit("acme", INPUT)
    assert record_of_tenant(store, "acme", job.id).job == job
    assert job.due_at is not None  # somebody will ring


def test_without_the_table_nothing_is_accepted_and_nobody_rung_for(
    doorbell: MemoryDoorbell, clock: HandSetClock
) -> None:
    submission = Submission(NoTable(clock), doorbell, clock, lambda: "id", POLICY)
    with pytest.raises(Unavailable):
        submission.submit("acme", INPUT)
    assert doorbell.rings == []


def test_without_a_key_every_submission_is_a_job_of_its_own(submission: Submission) -> None:
    assert submission.submit("acme", INPUT).id != submission.submit("acme", INPUT).id


def test_a_repeated_key_is_the_same_job_rung_for_again_while_it_is_pending(
    submission: Submission, doorbell: MemoryDoorbell, clock: HandSetClock
) -> None:
    first = submission.submit("acme", INPUT, "a key")
    clock.pass_(seconds=5)
    assert submission.submit("acme", INPUT, "a key") == first
    assert doorbell.rings == [first.id] * 2


def test_a_repeated_key_rings_no_more_once_the_job_is_running(
    submission: Submission, store: MemoryJobStore, doorbell: MemoryDoorbell, clock: HandSetClock
) -> None:
    first = submission.submit("acme", INPUT, "a key")
    running = transitions.claim(first, "one", "crew-1", clock(), POLICY)
    store.save(first, running)
    assert submission.submit("acme", INPUT, "a key") == running
    failed = transitions.cancel(running, clock())
    store.save(running, failed)
    assert submission.submit("acme", INPUT, "a key") == failed
    assert doorbell.rings == [first.id]


def test_a_key_with_another_body_conflicts_and_rings_nobody(submission: Submission, doorbell: MemoryDoorbell) -> None:
    first = submission.submit("acme", INPUT, "a key")
    with pytest.raises(IdempotencyConflict):
        submission.submit("acme", OTHER_INPUT, "a key")
    assert doorbell.rings == [first.id]


def test_the_same_key_of_two_tenants_is_two_jobs(submission: Submission) -> None:
    ours = submission.submit("acme", INPUT, "a key")
    theirs = submission.submit("globex", OTHER_INPUT, "a key")
    assert (ours.tenant, theirs.tenant) == ("acme", "globex")
    assert ours.id != theirs.id


def test_a_key_is_free_again_once_its_job_has_expired(submission: Submission, clock: HandSetClock) -> None:
    first = submission.submit("acme", INPUT, "a key")
    clock.now = first.expires_at
    second = submission.submit("acme", OTHER_INPUT, "a key")
    assert (second.id, second.created_at) == (first.id, first.expires_at)


def test_another_tenants_job_does_not_exist(submission: Submission, store: MemoryJobStore) -> None:
    job = submission.submit("acme", INPUT)
    with pytest.raises(UnknownJob) as theirs:
        record_of_tenant(store, "globex", job.id)
    with pytest.raises(UnknownJob) as nobodys:
        record_of_tenant(store, "globex", "never submitted")
    assert str(theirs.value).replace(job.id, "ID") == str(nobodys.value).replace("never submitted", "ID")


# ---- how many unfinished jobs a tenant may have


@pytest.fixture
def capped(store: MemoryJobStore, doorbell: MemoryDoorbell, clock: HandSetClock) -> Submission:
    """Two at a time."""
    ids = (f"id-{n}" for n in itertools.count(1))
    return Submission(store, doorbell, clock, lambda: next(ids), POLICY, most_unfinished=2)


def test_one_job_too_many_is_refused_and_leaves_nothing(
    capped: Submission, store: MemoryJobStore, doorbell: MemoryDoorbell
) -> None:
    for _ in range(2):
        capped.submit("acme", INPUT)
    with pytest.raises(TooManyJobs, match="2 jobs are pending or running"):
        capped.submit("acme", INPUT)
    with pytest.raises(TooManyJobs):
        capped.accept("acme", INPUT, "k")
    assert store.unfinished("acme", 10) == 2
    assert doorbell.rings == ["id-1", "id-2"]
    assert capped.submit("zoo", INPUT)  # other tenants have their own


def test_a_repeat_adds_none_and_is_never_refused(capped: Submission) -> None:
    first = capped.submit("acme", INPUT, "k")
    capped.submit("acme", INPUT)
    assert capped.submit("acme", INPUT, "k") == first
    with pytest.raises(IdempotencyConflict):
        capped.submit("acme", OTHER_INPUT, "k")


def test_a_job_that_ends_makes_room(capped: Submission, store: MemoryJobStore, clock: HandSetClock) -> None:
    job = capped.submit("acme", INPUT)
    running = capped.submit("acme", INPUT)
    store.save(running, transitions.claim(running, "me", "crew-1", clock(), POLICY))
    with pytest.raises(TooManyJobs):
        capped.submit("acme", INPUT)
    store.save(job, transitions.cancel(job, clock()))
    assert capped.submit("acme", INPUT)


def test_as_many_as_anybody_likes_where_nothing_is_said(submission: Submission) -> None:
    assert len({submission.submit("acme", INPUT).id for _ in range(50)}) == 50
