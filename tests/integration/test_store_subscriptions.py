"""What every store promises of a job's subscriptions, and every store of signing secrets."""

import base64
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest

from crewrelay.aws.signing import DynamoSigningSecrets
from crewrelay.aws.subscriptions import DynamoSubscriptions
from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records import subscription as change
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.job import Job
from crewrelay.jobs.records.subscription import Attempt, Outcome, Subscription
from crewrelay.jobs.webhooks.notifier import Subscriptions
from crewrelay.jobs.webhooks.signing import OVERLAP, SigningSecrets, rotate, secret_of, signed
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.signing import SqliteSigningSecrets
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.sqlite.subscriptions import SqliteSubscriptions
from crewrelay.testing import MemoryJobStore, MemorySigningSecrets, MemorySubscriptions
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import POLICY, claimed, completed, loaded
from tests.support.subscribed import ScriptedPost, World, asking

INPUT = asking()


@pytest.fixture
def subscriptions(request: pytest.FixtureRequest, store: JobStore, clock: HandSetClock) -> Subscriptions:
    """Of the jobs in the store."""
    if isinstance(store, MemoryJobStore):
        return MemorySubscriptions(store)
    if isinstance(store, SqliteJobStore):
        return SqliteSubscriptions(request.getfixturevalue("database"))
    storage: Storage = request.getfixturevalue("storage")
    return DynamoSubscriptions(storage.dynamodb, storage.table, clock)


def submitted(store: JobStore, clock: HandSetClock, job_id: str = "") -> tuple[Job, Subscription]:
    job = transitions.submit(job_id or str(uuid.uuid4()), "acme", INPUT, clock(), POLICY)
    assert INPUT.webhooks
    subscription = change.subscribe(job, INPUT.webhooks[0], 0, clock())
    return store.create(job, INPUT, [subscription]), subscription


def tried(subscription: Subscription, clock: HandSetClock) -> Subscription:
    attempt = Attempt(event=1, at=clock(), status=500, error="", milliseconds=3)
    return change.failed(change.claim(subscription, "me", clock()), attempt, None, clock(), 0.5)


def test_it_comes_with_its_job_as_it_was_made(
    store: JobStore, subscriptions: Subscriptions, clock: HandSetClock
) -> None:
    job, subscription = submitted(store, clock)
    assert subscriptions.of(job.id) == [subscription]
    assert loaded(store, job.id).job == job
    assert loaded(store, job.id).input == INPUT
    assert subscriptions.of(str(uuid.uuid4())) == []


def test_a_change_comes_back_as_it_was_saved_and_a_stale_one_is_refused(
    store: JobStore, subscriptions: Subscriptions, clock: HandSetClock
) -> None:
    job, before = submitted(store, clock)
    after = tried(before, clock)
    subscriptions.save(before, after)
    assert subscriptions.of(job.id) == [after]
    with pytest.raises(StaleWrite):
        subscriptions.save(before, change.claim(before, "another", clock()))
    assert subscriptions.of(job.id) == [after]


def test_the_same_submission_again_changes_nothing_that_has_happened(
    store: JobStore, subscriptions: Subscriptions, clock: HandSetClock
) -> None:
    job, before = submitted(store, clock)
    subscriptions.save(before, after := tried(before, clock))
    clock.pass_(seconds=5)
    again, _ = submitted(store, clock, job.id)
    assert again == job
    assert subscriptions.of(job.id) == [after]


def test_another_one_is_put_once(store: JobStore, subscriptions: Subscriptions, clock: HandSetClock) -> None:
    job, first = submitted(store, clock)
    second = first.model_copy(update={"number": 1})
    subscriptions.put(second)
    assert subscriptions.of(job.id) == [first, second]
    with pytest.raises(StaleWrite):
        subscriptions.put(tried(second, clock))
    assert subscriptions.of(job.id) == [first, second]


def test_what_is_due_is_found_by_its_time(store: JobStore, subscriptions: Subscriptions, clock: HandSetClock) -> None:
    early, subscription = submitted(store, clock)
    clock.pass_(seconds=1)
    late, _ = submitted(store, clock)
    assert subscription.due_at
    assert list(subscriptions.due(subscription.due_at - timedelta(milliseconds=1))) == []
    assert list(subscriptions.due(subscription.due_at)) == [early.id]
    assert set(subscriptions.due(clock() + timedelta(hours=1))) == {early.id, late.id}
    subscriptions.save(subscription, change.rest(subscription))
    assert list(subscriptions.due(clock() + timedelta(hours=1))) == [late.id]


def test_it_is_deleted_as_it_was_seen_or_not_at_all(
    store: JobStore, subscriptions: Subscriptions, clock: HandSetClock
) -> None:
    job, before = submitted(store, clock)
    subscriptions.save(before, after := change.postpone(before, clock()))
    subscriptions.delete(before)
    assert subscriptions.of(job.id) == [after]
    subscriptions.delete(after)
    assert subscriptions.of(job.id) == []


def test_it_goes_with_its_job(store: JobStore, subscriptions: Subscriptions, clock: HandSetClock) -> None:
    job, _ = submitted(store, clock)
    store.save(job, cancelled := transitions.cancel(job, clock()))
    store.delete(cancelled)
    assert subscriptions.of(job.id) == []


def test_it_expires_with_its_job(store: JobStore, subscriptions: Subscriptions, clock: HandSetClock) -> None:
    job, _ = submitted(store, clock)
    running = claimed(store, job, clock)
    store.save(running, done := completed(store, running, clock))
    clock.now = done.expires_at
    store.delete_expired()
    assert subscriptions.of(job.id) == []


# ---- crashes


class Dies(BaseException):
    pass


class DyingSubscriptions:
    """Dies before, or right after, the n-th write."""

    def __init__(self, inner: Subscriptions) -> None:
        self._inner = inner
        self.writes_left = 10**9
        self.after = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def save(self, before: Subscription, after: Subscription) -> None:
        self.writes_left -= 1
        if self.writes_left >= 0:
            return self._inner.save(before, after)
        if self.after:
            self._inner.save(before, after)
        raise Dies


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after it"])
@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_notifier_that_dies_at_any_write_loses_nothing_and_keeps_the_order(
    store: JobStore, subscriptions: Subscriptions, clock: HandSetClock, writes: int, after: bool
) -> None:
    dying = DyingSubscriptions(subscriptions)
    post = ScriptedPost(clock, Outcome(500))
    world = World(clock, post, store, dying)  # type: ignore[arg-type]
    job = world.completed(world.submitted(asking(EventType.SUBMITTED, EventType.CLAIMED, EventType.COMPLETED)))
    dying.writes_left, dying.after = writes, after

    def until_it_dies() -> None:
        for _ in range(5):
            world.notify(job)
            clock.pass_(minutes=5)

    with pytest.raises(Dies):
        until_it_dies()
    dying.writes_left = 10**9
    world.pass_until_settled(job)
    ids = [sent.id for sent in post.sent]
    assert [one.rpartition("_")[0] for one in dict.fromkeys(ids)] == [
        f"msg_{job.id}_0_{number}" for number in (1, 2, 3)
    ]
    assert ids == sorted(ids)
    assert len(ids) <= 5  # one failed, and one was perhaps sent twice


# ---- secrets


@pytest.fixture(params=["memory", "sqlite", "dynamo"])
def secrets(request: pytest.FixtureRequest) -> SigningSecrets:
    if request.param == "memory":
        return MemorySigningSecrets()
    if request.param == "sqlite":
        database: Database = request.getfixturevalue("database")
        return SqliteSigningSecrets(database)
    storage: Storage = request.getfixturevalue("storage")
    return DynamoSigningSecrets(storage.dynamodb, storage.table)


def numbered() -> Callable[[int], bytes]:
    made = iter(range(1, 255))
    return lambda length: bytes([next(made)]) * length


def test_a_secret_is_made_once_for_each_tenant(secrets: SigningSecrets, clock: HandSetClock) -> None:
    random = numbered()
    first = secret_of(secrets, "acme", clock(), random)
    assert secret_of(secrets, "acme", clock(), random) == first == secrets.load("acme")
    assert secret_of(secrets, "zoo", clock(), random).current != first.current
    with pytest.raises(StaleWrite):
        secrets.save(None, first.model_copy(update={"current": "another"}))
    assert len(base64.b64decode(first.current.removeprefix("whsec_"))) == 32


def test_two_secrets_sign_while_one_is_replaced(secrets: SigningSecrets, clock: HandSetClock) -> None:
    random = numbered()
    first = secret_of(secrets, "acme", clock(), random)
    second = rotate(secrets, "acme", clock(), random)
    assert second.valid(clock()) == (second.current, first.current)
    assert len(signed(second, "msg_1", clock(), b"{}")["webhook-signature"].split(" ")) == 2
    assert second.valid(clock() + OVERLAP) == (second.current,)
    with pytest.raises(StaleWrite):
        secrets.save(first, first.model_copy(update={"revision": 2}))
    assert secrets.load("acme") == second
