"""What every job store promises; held by DynamoDB's (on an emulator in a process of its own) and by the tests' own."""

import base64
import hashlib
import json
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crewrelay.aws import clients, rows
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.store import DynamoJobStore
from crewrelay.jobs import job as transitions
from crewrelay.jobs.answer import Answer, Source, Usage
from crewrelay.jobs.errors import DamagedJob, IdempotencyConflict, ServiceRefused, StaleWrite, Unavailable
from crewrelay.jobs.job import Failure, Job, JobInput, Status
from crewrelay.jobs.journal import Call, Kind, Receipt, Reply
from crewrelay.jobs.lease import Lease
from crewrelay.jobs.policy import Policy
from crewrelay.jobs.ports import JobRecord, JobStore
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.testing import MemoryJobStore
from tests.conftest import HandSetClock, Storage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "Grüße, 世界 🌍", "language": "de"})
OTHER_INPUT = JobInput(crew="research", inputs={"topic": "something else", "language": "de"})
ANSWER = Answer(
    text="Grüße [1]",
    sources=(Source(number=1, id="a#1", title="A", url="https://example.org/a", text="Grüße, 世界", excerpt="世界"),),
    usage=Usage(model="scripted/one", calls=2, prompt_tokens=10, completion_tokens=5),
)
FAILURE = Failure(type="TimeoutError", message="The model did not answer.", retryable=True)


@pytest.fixture(params=["memory", "sqlite", "dynamo"])
def store(request: pytest.FixtureRequest, clock: HandSetClock) -> JobStore:
    if request.param == "memory":
        return MemoryJobStore(clock)
    if request.param == "sqlite":
        return SqliteJobStore(Database(request.getfixturevalue("tmp_path") / "jobs.db"), clock)
    return dynamo_store(request.getfixturevalue("storage"), clock)


def dynamo_store(storage: Storage, clock: HandSetClock) -> DynamoJobStore:
    return storage.store(clock)


def submitted(store: JobStore, clock: HandSetClock, job_input: JobInput = INPUT, job_id: str | None = None) -> Job:
    job = transitions.submit(job_id or str(uuid.uuid4()), "acme", job_input, clock(), POLICY)
    return store.create(job, job_input)


def claimed(store: JobStore, before: Job, clock: HandSetClock, holder: str = "one") -> Job:
    job = transitions.claim(before, holder, "crew-1", clock(), POLICY)
    store.save(before, job)
    return job


def loaded(store: JobStore, job_id: str) -> JobRecord:
    record = store.load(job_id)
    assert record is not None
    return record


def text_of_compressed_size(size: int) -> str:
    """Letters that compress to about `size` bytes and no further."""
    return base64.b64encode(random.Random(7).randbytes(size)).decode()


def test_every_field_comes_back_as_it_was_stored(store: JobStore, clock: HandSetClock) -> None:
    now = clock()
    job = Job(
        id=str(uuid.uuid4()),
        tenant="acme",
        crew="research",
        input_digest=INPUT.digest(),
        status=Status.FAILED,
        fence=3,
        holder="somebody",
        attempts=2,
        created_at=now,
        not_before=now + timedelta(milliseconds=1),
        due_at=now + timedelta(milliseconds=1001),
        lease_until=now + timedelta(seconds=2, milliseconds=999),
        started_at=now + timedelta(seconds=3),
        finished_at=now + timedelta(seconds=4),
        end_by=now + timedelta(hours=24),
        fingerprint="crew-1",
        stalled=1,
        relays=3,
        strikes=2,
        alone=True,
        restarts=1,
        receipt=Receipt(
            calls_paid=4, calls_replayed=2, prompt_tokens=40, completion_tokens=20, cost_usd=Decimal("0.00012345")
        ),
        expires_at=now + timedelta(days=30),
        error=FAILURE,
    )
    store.create(job, INPUT)
    assert loaded(store, job.id) == JobRecord(job, INPUT, None)


def test_a_fresh_job_comes_back_pending_and_without_an_answer(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    assert loaded(store, job.id) == JobRecord(job, INPUT, None)


def test_an_unknown_id_is_none(store: JobStore, clock: HandSetClock) -> None:
    submitted(store, clock)
    assert store.load(str(uuid.uuid4())) is None


def test_a_job_can_be_claimed_at_the_very_moment_of_its_submission(store: JobStore, clock: HandSetClock) -> None:
    clock.pass_(microseconds=600)
    job = loaded(store, submitted(store, clock).id).job
    assert transitions.claimable(job, clock())


def test_the_same_submission_again_gives_the_job_that_stands(store: JobStore, clock: HandSetClock) -> None:
    first = submitted(store, clock)
    running = claimed(store, first, clock)
    clock.pass_(seconds=5)
    assert submitted(store, clock, job_id=first.id) == running
    assert loaded(store, first.id) == JobRecord(running, INPUT, None)


def test_another_input_under_the_same_id_conflicts_and_changes_nothing(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    with pytest.raises(IdempotencyConflict):
        submitted(store, clock, OTHER_INPUT, job.id)
    assert loaded(store, job.id) == JobRecord(job, INPUT, None)


def test_a_job_is_gone_from_the_moment_it_expires(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    clock.now = job.expires_at - timedelta(seconds=1)
    assert store.load(job.id) is not None
    clock.now = job.expires_at
    assert store.load(job.id) is None


def test_an_expired_job_makes_way_for_a_new_one_under_its_id(store: JobStore, clock: HandSetClock) -> None:
    old = claimed(store, submitted(store, clock), clock)
    store.put_answer(old, ANSWER)
    store.save(old, transitions.complete(old, clock()))
    clock.now = old.expires_at
    new = submitted(store, clock, OTHER_INPUT, old.id)
    assert (new.status, new.fence, new.created_at) == (Status.PENDING, 0, clock())
    assert loaded(store, new.id) == JobRecord(new, OTHER_INPUT, None)
    running = claimed(store, new, clock)  # under the fence that the old one's answer lies under
    assert loaded(store, new.id) == JobRecord(running, OTHER_INPUT, None)


def completed(store: JobStore, job: Job, clock: HandSetClock) -> Job:
    store.put_answer(job, ANSWER)
    return transitions.complete(job, clock())


@pytest.mark.parametrize(
    ("first_claim_it", "move"),
    [
        pytest.param(False, lambda s, j, c: transitions.claim(j, "two", "crew-1", c(), POLICY), id="claim"),
        pytest.param(False, lambda s, j, c: transitions.give_up(j, FAILURE, c()), id="give-up-pending"),
        pytest.param(False, lambda s, j, c: transitions.postpone(j, c(), POLICY), id="postpone-pending"),
        pytest.param(False, lambda s, j, c: transitions.cancel(j, c()), id="cancel-pending"),
        pytest.param(True, lambda s, j, c: transitions.renew(j, c(), POLICY), id="renew"),
        pytest.param(True, lambda s, j, c: transitions.relay(j, c(), POLICY), id="relay"),
        pytest.param(True, lambda s, j, c: transitions.back_off(j, FAILURE, c(), c(), POLICY), id="back-off"),
        pytest.param(True, lambda s, j, c: transitions.paid(j, Receipt(calls_paid=1), c(), POLICY), id="paid"),
        pytest.param(True, lambda s, j, c: transitions.postpone(j, c(), POLICY), id="postpone-running"),
        pytest.param(True, lambda s, j, c: transitions.fail(j, FAILURE, c()), id="fail-running"),
        pytest.param(True, lambda s, j, c: transitions.cancel(j, c()), id="cancel-running"),
        pytest.param(True, completed, id="complete"),
    ],
)
def test_each_transition_is_stored_whole(
    store: JobStore, clock: HandSetClock, first_claim_it: bool, move: Callable[[JobStore, Job, HandSetClock], Job]
) -> None:
    before = submitted(store, clock)
    if first_claim_it:
        before = claimed(store, before, clock)
    clock.pass_(seconds=7)
    after = move(store, before, clock)
    assert after != before
    store.save(before, after)
    assert loaded(store, after.id).job == after


def test_a_lease_that_ran_out_is_taken_over(store: JobStore, clock: HandSetClock) -> None:
    first = claimed(store, submitted(store, clock), clock)
    clock.pass_(seconds=61)
    second = claimed(store, first, clock, "two")
    assert loaded(store, first.id).job == second
    with pytest.raises(StaleWrite):
        store.save(first, transitions.renew(first, clock(), POLICY))
    assert loaded(store, first.id).job == second


def test_a_write_is_refused_once_the_status_moved(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    cancelled = transitions.cancel(running, clock())
    store.save(running, cancelled)
    clock.pass_(seconds=1)
    for late in (transitions.renew(running, clock(), POLICY), transitions.complete(running, clock())):
        with pytest.raises(StaleWrite):
            store.save(running, late)
    assert loaded(store, running.id).job == cancelled


def test_a_write_is_refused_once_the_fence_moved_even_if_the_status_is_back(
    store: JobStore, clock: HandSetClock
) -> None:
    pending = submitted(store, clock)
    first = claimed(store, pending, clock)
    released = transitions.relay(first, clock(), POLICY)
    store.save(first, released)
    with pytest.raises(StaleWrite):
        store.save(pending, transitions.claim(pending, "late", "crew-1", clock(), POLICY))
    second = claimed(store, released, clock, "two")
    with pytest.raises(StaleWrite):
        store.save(first, transitions.complete(first, clock()))
    assert loaded(store, pending.id).job == second


def test_a_claim_is_refused_when_the_lease_was_renewed_under_its_feet(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    clock.pass_(seconds=61)
    seen = loaded(store, running.id).job
    renewed = transitions.renew(running, clock(), POLICY)
    store.save(running, renewed)
    with pytest.raises(StaleWrite):
        store.save(seen, transitions.claim(seen, "two", "crew-1", clock(), POLICY))
    assert loaded(store, running.id).job == renewed


def test_a_write_to_a_job_that_is_not_there_is_refused(store: JobStore, clock: HandSetClock) -> None:
    job = transitions.submit(str(uuid.uuid4()), "acme", INPUT, clock(), POLICY)
    with pytest.raises(StaleWrite):
        store.save(job, transitions.cancel(job, clock()))
    assert store.load(job.id) is None


def test_a_holder_that_missed_the_reply_to_its_renewal_can_still_finish(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    lease = Lease(store, running)
    clock.pass_(seconds=20)
    store.save(running, transitions.renew(running, clock(), POLICY))
    store.put_answer(running, ANSWER)
    finished = lease.advance(lambda job: transitions.complete(job, clock()))
    assert loaded(store, running.id).job == finished


def test_the_first_try_of_a_write_that_arrives_after_its_repeat_and_the_next_write_is_refused(
    store: JobStore, clock: HandSetClock
) -> None:
    running = claimed(store, submitted(store, clock), clock)
    first = transitions.paid(running, Receipt(calls_paid=1), clock(), POLICY)
    store.save(running, first)
    clock.pass_(seconds=50)
    second = transitions.paid(first, Receipt(calls_paid=2), clock(), POLICY)
    store.save(first, second)
    with pytest.raises(StaleWrite):
        store.save(running, first)
    assert loaded(store, running.id).job == second


def test_a_renewal_that_changes_nothing_is_accepted(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    renewed = transitions.renew(running, clock(), POLICY)
    store.save(running, renewed)
    assert loaded(store, running.id).job == renewed


def test_a_claim_race_has_one_winner(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    start = threading.Barrier(16, timeout=10)

    def race(holder: str) -> str | None:
        before = loaded(store, job.id).job
        start.wait()
        try:
            claimed(store, before, clock, holder)
        except StaleWrite:
            return None
        return holder

    with ThreadPoolExecutor(16) as pool:
        winners = [holder for holder in pool.map(race, [f"holder-{n}" for n in range(16)]) if holder]
    standing = loaded(store, job.id).job
    assert winners == [standing.holder]
    assert (standing.fence, standing.attempts) == (1, 1)


def test_the_repeat_of_a_write_whose_reply_was_lost_is_accepted(store: JobStore, clock: HandSetClock) -> None:
    pending = submitted(store, clock)
    running = transitions.claim(pending, "one", "crew-1", clock(), POLICY)
    for before, after in [
        (pending, running),
        (running, transitions.relay(running, clock(), POLICY)),
    ]:
        store.save(before, after)
        store.save(before, after)
        assert loaded(store, pending.id).job == after
    with pytest.raises(StaleWrite):  # that one's turn is over, even if it was its own
        store.save(pending, running)


def test_a_rivals_like_claim_is_no_repeat(store: JobStore, clock: HandSetClock) -> None:
    pending = submitted(store, clock)
    claimed(store, pending, clock, "one")
    with pytest.raises(StaleWrite):
        claimed(store, pending, clock, "two")


def test_an_answer_is_shown_once_the_job_is_completed(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    store.put_answer(running, ANSWER)
    assert loaded(store, running.id).answer is None
    finished = transitions.complete(running, clock())
    store.save(running, finished)
    assert loaded(store, running.id) == JobRecord(finished, INPUT, ANSWER)


def test_the_answer_of_a_lost_lease_is_never_shown(store: JobStore, clock: HandSetClock) -> None:
    zombie = claimed(store, submitted(store, clock), clock)
    clock.pass_(seconds=61)
    holder = claimed(store, zombie, clock, "two")
    late = ANSWER.model_copy(update={"text": "too late"})
    store.put_answer(zombie, late)
    store.put_answer(holder, ANSWER)
    store.save(holder, transitions.complete(holder, clock()))
    assert loaded(store, holder.id).answer == ANSWER
    store.put_answer(zombie, late)
    assert loaded(store, holder.id).answer == ANSWER


def test_a_failed_job_shows_no_answer(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    store.put_answer(running, ANSWER)
    store.save(running, transitions.fail(running, FAILURE, clock()))
    assert loaded(store, running.id).answer is None


@pytest.mark.parametrize("size", [300_000, 401_000])
def test_an_answer_that_does_not_compress_is_read_back_whole(store: JobStore, clock: HandSetClock, size: int) -> None:
    running = claimed(store, submitted(store, clock), clock)
    answer = ANSWER.model_copy(update={"text": text_of_compressed_size(size)})
    store.put_answer(running, answer)
    store.save(running, transitions.complete(running, clock()))
    assert loaded(store, running.id) == JobRecord(transitions.complete(running, clock()), INPUT, answer)


# ---- the journal


def call_of(text: str = "a reply", digest: str = "d" * 64, nth: int = 0) -> Call:
    used = {"prompt_tokens": 10, "completion_tokens": 5, "cost_usd": Decimal("0.00000123")}
    reply = Reply(body=json.dumps(text), model="scripted/one", **used)  # type: ignore[arg-type]
    at = HandSetClock().now + timedelta(seconds=nth)
    return Call(digest=digest, nth=nth, kind=Kind.MODEL, seconds=1.5, fence=1, at=at, reply=reply)


def test_a_fresh_jobs_journal_is_empty(store: JobStore, clock: HandSetClock) -> None:
    assert list(store.journal(submitted(store, clock))) == []


def test_calls_come_back_as_they_were_kept_and_no_other_jobs(store: JobStore, clock: HandSetClock) -> None:
    job, other = submitted(store, clock), submitted(store, clock)
    calls = [call_of("one"), call_of("two", nth=1), call_of("Grüße 🌍", digest="e" * 64)]
    assert [store.put_call(job, call) for call in calls] == calls
    store.put_call(other, call_of("another's"))
    assert sorted(store.journal(job), key=str) == sorted(calls, key=str)


def test_a_call_that_stands_is_adopted(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    store.put_call(job, call_of("the first"))
    assert store.put_call(job, call_of("the second")) == call_of("the first")
    assert list(store.journal(job)) == [call_of("the first")]


def test_a_call_is_kept_though_the_lease_is_lost(store: JobStore, clock: HandSetClock) -> None:
    first = claimed(store, submitted(store, clock), clock)
    clock.pass_(seconds=61)
    claimed(store, first, clock, "two")
    assert store.put_call(first, call_of()) == call_of()
    assert list(store.journal(first)) == [call_of()]


def test_the_calls_of_an_expired_job_are_nobodys(store: JobStore, clock: HandSetClock) -> None:
    old = submitted(store, clock)
    store.put_call(old, call_of("the old one's"))
    clock.now = old.expires_at
    new = submitted(store, clock, job_id=old.id)
    assert list(store.journal(new)) == []
    assert store.put_call(new, call_of("the new one's")) == call_of("the new one's")
    assert list(store.journal(new)) == [call_of("the new one's")]


def test_a_reply_of_any_size_is_kept(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    large = call_of(text_of_compressed_size(500_000))
    store.put_call(job, large)
    assert list(store.journal(job)) == [large]
    assert store.put_call(job, call_of("smaller")) == large


def test_a_long_journal_is_read_whole(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    calls = [call_of(text_of_compressed_size(100_000), nth=number) for number in range(15)]  # pages of 1 MB
    for call in calls:
        store.put_call(job, call)
    assert sorted(store.journal(job), key=lambda call: call.nth) == calls


def test_the_entries_are_the_calls_without_their_bodies(store: JobStore, clock: HandSetClock) -> None:
    job, other = submitted(store, clock), submitted(store, clock)
    calls = [call_of(text_of_compressed_size(500_000)), call_of("two", nth=1), call_of("three", digest="e" * 64)]
    for call in calls:
        store.put_call(job, call)
    store.put_call(other, call_of("another's"))
    assert sorted(store.entries(job), key=str) == sorted((call.without_body() for call in calls), key=str)
    clock.now = job.expires_at
    assert list(store.entries(job)) == []


# ---- what is due


def test_only_what_was_due_by_then_is_due(store: JobStore, clock: HandSetClock) -> None:
    early = [submitted(store, clock) for _ in range(3)]
    clock.pass_(seconds=1)
    submitted(store, clock)
    done = claimed(store, submitted(store, clock), clock)
    store.save(done, transitions.cancel(done, clock()))
    assert early[0].due_at is not None
    assert sorted(store.due(Status.PENDING, early[0].due_at)) == sorted(job.id for job in early)
    assert list(store.due(Status.PENDING, early[0].due_at - timedelta(milliseconds=1))) == []


def test_a_running_job_is_due_among_the_running_and_nowhere_else(store: JobStore, clock: HandSetClock) -> None:
    job = claimed(store, submitted(store, clock), clock)
    assert job.lease_until
    due = {status: list(store.due(status, job.lease_until)) for status in (Status.PENDING, Status.RUNNING)}
    assert due == {Status.PENDING: [], Status.RUNNING: [job.id]}
    store.save(job, transitions.relay(job, clock(), POLICY))
    later = clock() + timedelta(hours=1)
    due = {status: list(store.due(status, later)) for status in (Status.PENDING, Status.RUNNING)}
    assert due == {Status.PENDING: [job.id], Status.RUNNING: []}


# ---- DynamoDB's alone: what the rows look like


def due_job_ids(storage: Storage) -> set[str]:
    found: set[str] = set()
    shards = [rows.due_shard(status, n) for status in (Status.PENDING, Status.RUNNING) for n in range(rows.DUE_SHARDS)]
    for shard in shards:
        page = storage.dynamodb.query(
            TableName=storage.table,
            IndexName="due",
            KeyConditionExpression="due_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": shard}},
        )
        found |= {item["pk"]["S"].removeprefix("JOB#") for item in page["Items"]}
    return found


def test_every_row_carries_its_tenant_and_its_expiry(storage: Storage, clock: HandSetClock) -> None:
    store = dynamo_store(storage, clock)
    running = claimed(store, submitted(store, clock), clock)
    store.put_answer(running, ANSWER)
    store.save(running, transitions.complete(running, clock()))
    stored = storage.rows()
    assert {row["sk"]["S"] for row in stored} == {"JOB", "INPUT", "RESULT#00000001"}
    for row in stored:
        assert row["tenant"] == {"S": "acme"}
        assert row["expires_at"] == {"N": str(int(running.expires_at.timestamp()))}


def test_the_due_index_holds_the_jobs_that_are_owed_something_and_no_other(
    storage: Storage, clock: HandSetClock
) -> None:
    store = dynamo_store(storage, clock)
    pending = submitted(store, clock)
    running = claimed(store, submitted(store, clock), clock)
    released = claimed(store, submitted(store, clock), clock)
    store.save(released, transitions.relay(released, clock(), POLICY))
    done = claimed(store, submitted(store, clock), clock)
    store.save(done, completed(store, done, clock))
    failed = claimed(store, submitted(store, clock), clock)
    store.save(failed, transitions.fail(failed, FAILURE, clock()))
    cancelled = submitted(store, clock)
    store.save(cancelled, transitions.cancel(cancelled, clock()))
    assert due_job_ids(storage) == {pending.id, running.id, released.id}


def test_a_key_whose_submission_died_long_ago_is_free_for_another_body(storage: Storage, clock: HandSetClock) -> None:
    store, other = dynamo_store(storage, clock), JobInput(crew="research", inputs={"topic": "another"})
    job = submitted(store, clock)
    storage.dynamodb.delete_item(TableName=storage.table, Key=rows.key(job.id, "JOB"))  # as if it had never come to it
    clock.pass_(seconds=30)  # it may still be under way
    with pytest.raises(IdempotencyConflict):
        store.create(transitions.submit(job.id, "acme", other, clock(), POLICY), other)
    clock.pass_(seconds=60)
    later = transitions.submit(job.id, "acme", other, clock(), POLICY)
    assert store.create(later, other) == later
    assert loaded(store, job.id).input == other


def test_a_key_whose_job_has_expired_is_free_though_its_input_was_renewed(
    storage: Storage, clock: HandSetClock
) -> None:
    store, other = dynamo_store(storage, clock), JobInput(crew="research", inputs={"topic": "another"})
    job = submitted(store, clock)
    clock.pass_(days=29)
    store.create(transitions.submit(job.id, "acme", INPUT, clock(), POLICY), INPUT)
    with pytest.raises(IdempotencyConflict):
        store.create(transitions.submit(job.id, "acme", other, clock(), POLICY), other)
    clock.pass_(days=2)
    later = transitions.submit(job.id, "acme", other, clock(), POLICY)
    assert store.create(later, other) == later
    assert loaded(store, job.id).input == other


def test_the_job_row_stays_small_whatever_the_topic(storage: Storage, clock: HandSetClock) -> None:
    store = dynamo_store(storage, clock)
    job = submitted(store, clock, JobInput(crew="research", inputs={"topic": "漢" * 2000, "language": "zh-Hant-TW"}))
    running = claimed(store, job, clock, str(uuid.uuid4()))
    assert job_row_size(storage, job.id) < 2048
    reply = Call(digest="d" * 64, nth=99_999, kind=Kind.MODEL, seconds=1, reply=Reply(body=""))
    failure = Failure(type="UnprocessableEntityError", message="🌧" * 5_000)
    for _ in range(9):  # retried again and again
        failed = transitions.fail(running, failure, clock(), reply)
        store.save(running, failed)
        assert job_row_size(storage, job.id) < 2048
        retried = transitions.retry(failed, clock(), POLICY)
        store.save(failed, retried)
        running = claimed(store, retried, clock, str(uuid.uuid4()))


def test_rows_from_before_costs_were_counted_can_be_read(storage: Storage, clock: HandSetClock) -> None:
    store = dynamo_store(storage, clock)
    running = claimed(store, submitted(store, clock), clock)
    paid = transitions.paid(running, Receipt(calls_paid=1, prompt_tokens=10, completion_tokens=5), clock(), POLICY)
    store.save(running, paid)
    reply = {"body": '"one"', "model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 5}
    call = {"digest": "d" * 64, "nth": 0, "kind": "model", "seconds": 1.5, "reply": reply}
    old = rows.body_item(running, f"CALL#{'d' * 64}#00000", bodies(storage).put(running.id, json.dumps(call)))
    storage.dynamodb.put_item(TableName=storage.table, Item=old)
    storage.dynamodb.update_item(
        TableName=storage.table, Key=rows.key(running.id, "JOB"), UpdateExpression="REMOVE receipt.cost_usd"
    )
    assert (loaded(store, running.id).job.receipt, list(store.journal(running))) == (
        paid.receipt,
        [Call.model_validate(call)],
    )
    store.put_call(running, call_of("two", nth=1))
    assert store.entries(running) == [Call.model_validate(call).without_body(), call_of("two", nth=1).without_body()]


def test_entries_are_read_without_bodies(storage: Storage, clock: HandSetClock) -> None:
    job = submitted(dynamo_store(storage, clock), clock)
    for number in range(15):
        dynamo_store(storage, clock).put_call(job, call_of(text_of_compressed_size(20_000), nth=number))
    answers: list[int] = []
    storage.dynamodb.meta.events.register(
        "after-call.dynamodb.Query", lambda http_response, **_: answers.append(len(http_response.content))
    )
    assert len(dynamo_store(storage, clock).entries(job)) == 15
    assert sum(answers) < 15 * 1_000


def job_row_size(storage: Storage, job_id: str) -> int:
    """Names, values and type tags: a little more than DynamoDB counts."""
    item = storage.dynamodb.get_item(TableName=storage.table, Key=rows.key(job_id, "JOB"))["Item"]
    return len(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode())


def bodies(storage: Storage) -> Bodies:
    return Bodies(lambda: storage.s3, storage.bucket)


def test_an_answer_over_2_mb_is_to_be_fetched(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    running = claimed(store, submitted(store, clock), clock)
    answer = ANSWER.model_copy(update={"text": text_of_compressed_size(5_000_000)})
    store.put_answer(running, answer)
    store.save(running, transitions.complete(running, clock()))
    record = loaded(store, running.id)
    assert record.answer is None
    assert record.answer_url is not None
    assert Answer.model_validate_json(httpx.get(record.answer_url).content) == answer


def test_a_large_body_lies_in_the_bucket_under_its_contents_hash(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    running = claimed(store, submitted(store, clock), clock)
    answer = ANSWER.model_copy(update={"text": text_of_compressed_size(401_000)})
    store.put_answer(running, answer)
    store.put_answer(running, answer)
    (stored,) = storage.s3.list_objects_v2(Bucket=storage.bucket)["Contents"]
    digest = hashlib.sha256(answer.model_dump_json().encode()).hexdigest()
    assert stored["Key"] == f"jobs/{running.id}/{digest}.json"
    assert stored["Size"] < 600_000


class DiesBeforeTheCommit:
    """A client whose process dies after the first write."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client
        self._writes = 0

    def put_item(self, **arguments: Any) -> Any:
        self._writes += 1
        if self._writes > 1:
            raise SystemExit
        return self._client.put_item(**arguments)


def test_a_submission_that_died_halfway_is_no_job_and_can_be_repeated(storage: Storage, clock: HandSetClock) -> None:
    job_id = str(uuid.uuid4())
    dying: Any = DiesBeforeTheCommit(storage.dynamodb)
    with pytest.raises(SystemExit):
        submitted(DynamoJobStore(dying, storage.table, clock, bodies(storage)), clock, job_id=job_id)
    store = dynamo_store(storage, clock)
    assert store.load(job_id) is None
    assert due_job_ids(storage) == set()
    job = submitted(store, clock, job_id=job_id)
    assert loaded(store, job_id) == JobRecord(job, INPUT, None)


def test_the_input_of_a_repeated_submission_lives_as_long_as_its_job(storage: Storage, clock: HandSetClock) -> None:
    job_id = str(uuid.uuid4())
    dying: Any = DiesBeforeTheCommit(storage.dynamodb)
    with pytest.raises(SystemExit):
        submitted(DynamoJobStore(dying, storage.table, clock, bodies(storage)), clock, job_id=job_id)
    clock.pass_(days=1)
    submitted(dynamo_store(storage, clock), clock, job_id=job_id)
    expiry = {row["sk"]["S"]: int(row["expires_at"]["N"]) for row in storage.rows()}
    assert expiry["INPUT"] >= expiry["JOB"]


# ---- how many are unfinished


def test_jobs_are_counted_until_they_end_by_tenant_and_no_further_than_asked(
    store: JobStore, clock: HandSetClock
) -> None:
    jobs = [submitted(store, clock) for _ in range(3)]
    store.create(transitions.submit(str(uuid.uuid4()), "other", INPUT, clock(), POLICY), INPUT)
    assert [store.unfinished("acme", most) for most in (1, 2, 3, 4, 1000)] == [1, 2, 3, 3, 3]
    assert (store.unfinished("other", 10), store.unfinished("nobody", 10)) == (1, 0)
    running = claimed(store, jobs[0], clock)
    assert store.unfinished("acme", 10) == 3
    failed = transitions.fail(running, FAILURE, clock())
    store.save(running, failed)
    store.save(jobs[1], transitions.cancel(jobs[1], clock()))
    assert store.unfinished("acme", 10) == 1
    store.save(failed, transitions.retry(failed, clock(), POLICY))
    assert store.unfinished("acme", 10) == 2


def test_a_job_that_does_not_count_is_not_counted(store: JobStore, clock: HandSetClock) -> None:
    job = transitions.submit(str(uuid.uuid4()), "acme", INPUT, clock(), POLICY, capped=False)
    store.create(job, INPUT)
    assert store.unfinished("acme", 10) == 0
    assert loaded(store, job.id).job == job


# ---- what can't be read


def damage(store: JobStore, storage: Storage | None, job: Job, what: str) -> None:
    if storage is None:
        assert isinstance(store, MemoryJobStore)
        store.damaged.add(job.id)
    elif isinstance(store, SqliteJobStore):
        with store._database.writing() as connection:
            if what == "input":
                connection.execute("DELETE FROM inputs WHERE job_id = ?", (job.id,))
            else:
                connection.execute(
                    "UPDATE jobs SET job = json_set(job, '$.receipt', 'nonsense') WHERE id = ?", (job.id,)
                )
    elif what == "input":
        storage.dynamodb.delete_item(TableName=storage.table, Key=rows.key(job.id, "INPUT"))
    else:
        storage.dynamodb.update_item(
            TableName=storage.table,
            Key=rows.key(job.id, "JOB"),
            UpdateExpression="SET receipt = :nonsense",
            ExpressionAttributeValues=rows.typed({":nonsense": "nonsense"}),
        )


@pytest.mark.parametrize("claim_it", [False, True], ids=["pending", "running"])
@pytest.mark.parametrize("what", ["input", "row"])
def test_a_job_that_can_not_be_read_says_so_until_it_is_ended(
    request: pytest.FixtureRequest, store: JobStore, clock: HandSetClock, what: str, claim_it: bool
) -> None:
    job = submitted(store, clock)
    if claim_it:
        job = claimed(store, job, clock)
    assert job.due_at
    storage = None if isinstance(store, (MemoryJobStore, SqliteJobStore)) else request.getfixturevalue("storage")
    damage(store, storage, job, what)
    with pytest.raises(DamagedJob, match=job.id):
        store.load(job.id)
    assert not store.end_damaged(job.id, FAILURE, clock(), job.due_at - timedelta(milliseconds=1))
    assert store.end_damaged(job.id, FAILURE, clock(), job.due_at)
    assert not store.end_damaged(job.id, FAILURE, clock(), job.due_at)
    assert store.unfinished("acme", 10) == 0
    assert [list(store.due(status, clock() + timedelta(days=1))) for status in Status] == [[]] * len(Status)
    if what == "input":
        ended = loaded(store, job.id)
        assert (ended.job.status, ended.job.error, ended.input.inputs) == (Status.FAILED, FAILURE, {})


def test_only_an_unfinished_job_is_ended_so(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    finished = transitions.cancel(running, clock())
    store.save(running, finished)
    assert not store.end_damaged(running.id, FAILURE, clock(), clock())
    assert not store.end_damaged(str(uuid.uuid4()), FAILURE, clock(), clock())
    assert loaded(store, running.id).job == finished


def test_a_body_that_is_gone_from_the_bucket_is_damage_and_no_outage(storage: Storage, clock: HandSetClock) -> None:
    store = dynamo_store(storage, clock)
    job = submitted(store, clock, JobInput(crew="research", inputs={"topic": text_of_compressed_size(300_000)}))
    (found,) = storage.s3.list_objects_v2(Bucket=storage.bucket)["Contents"]
    storage.s3.delete_object(Bucket=storage.bucket, Key=found["Key"])
    with pytest.raises(DamagedJob, match="no longer has"):
        store.load(job.id)


def test_another_tenants_job_is_not_there(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    assert store.load(job.id, "acme") == loaded(store, job.id)
    assert store.load(job.id, "other") is None


def test_nothing_that_another_tenant_keeps_elsewhere_is_read(storage: Storage, clock: HandSetClock) -> None:
    """Or a fault there would tell that there is something."""
    job_input = JobInput(crew="research", inputs={"topic": text_of_compressed_size(300_000)})
    job = submitted(dynamo_store(storage, clock), clock, job_input)
    nowhere = DynamoJobStore(storage.dynamodb, storage.table, clock, Bodies(lambda: storage.s3, "no-such-bucket"))
    with pytest.raises(ServiceRefused):
        nowhere.load(job.id, "acme")
    assert nowhere.load(job.id, "other") is None


def test_counting_reads_index_entries_of_the_unfinished_alone(storage: Storage, clock: HandSetClock) -> None:
    store = dynamo_store(storage, clock)
    for number in range(8):
        job = submitted(store, clock)
        if number % 2:
            store.save(job, transitions.cancel(job, clock()))
    read: list[int] = []
    asked: list[dict[str, Any]] = []
    events = storage.dynamodb.meta.events
    events.register("provide-client-params.dynamodb.Query", lambda params, **_: asked.append(params))
    events.register("after-call.dynamodb.Query", lambda parsed, **_: read.append(parsed["ScannedCount"]))
    assert store.unfinished("acme", 3) == 3
    assert store.unfinished("acme", 100) == 4
    assert (read, [params["Limit"] for params in asked]) == ([3, 4], [3, 100])
    assert not [params for params in asked if "FilterExpression" in params]


def test_only_a_jobs_birth_and_end_write_to_the_index_of_the_unfinished(clock: HandSetClock) -> None:
    """A write that leaves an index's attributes alone is not billed for it."""
    pending = transitions.submit("an-id", "acme", INPUT, clock(), POLICY)
    running = transitions.claim(pending, "me", "crew-1", clock(), POLICY)
    lives = [pending, running, transitions.renew(running, clock(), POLICY), transitions.relay(running, clock(), POLICY)]
    assert {rows.job_values(job)["unfinished"] for job in lives} == {"acme"}
    assert rows.job_values(transitions.complete(running, clock()))["unfinished"] is None


def test_a_table_that_can_not_be_reached_is_unavailable_within_seconds(
    monkeypatch: pytest.MonkeyPatch, clock: HandSetClock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed_port = server.getsockname()[1]
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{closed_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    store = DynamoJobStore(
        clients.dynamodb.__wrapped__(), "jobs", clock, Bodies(clients.s3, "bodies")
    )  # the product's own timeouts and retries
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="table"):
        store.load(str(uuid.uuid4()))
    assert time.monotonic() - begun < 12


def test_a_missing_table_refuses_and_may_be_there_later(storage: Storage, clock: HandSetClock) -> None:
    store = DynamoJobStore(storage.dynamodb, "no-such-table", clock, bodies(storage))
    with pytest.raises(ServiceRefused, match="ResourceNotFoundException") as refused:
        submitted(store, clock)
    assert refused.value.outage
