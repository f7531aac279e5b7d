"""What a webhook is sent, when, how often, and what is kept of it."""

import json
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from threading import Event

import pytest

from crewrelay.events.batch import answer_batch
from crewrelay.events.records import Record
from crewrelay.jobs.errors import UnknownJob
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import Measure
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.subscription import LEASE, SCHEDULE, Outcome, State
from crewrelay.jobs.sweeper import Sweeper, Swept
from crewrelay.jobs.webhooks.deliveries import Deliveries
from crewrelay.jobs.webhooks.shares import LONGEST_PAUSE, MOST_AT_ONCE, Shares
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock
from tests.support.subscribed import FOREVER, POLICY, URL, ScriptedPost, World, asking

DEFAULT = asking()


def seconds(post: ScriptedPost) -> list[float]:
    """Between an attempt and the one before."""
    times = [sent.at for sent in post.sent]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(times)]


def types(post: ScriptedPost) -> list[str]:
    return [json.loads(sent.body)["type"] for sent in post.sent]


def test_a_job_that_ends_is_told_once_and_owes_nothing_then(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    job = world.completed(world.submitted(DEFAULT))
    assert world.bell.rings == [job.id]  # not for the claim
    world.notify(job)
    world.notify(job)
    [sent] = post.sent
    assert json.loads(sent.body) == {
        "type": "job.completed",
        "timestamp": "2026-01-02T03:04:05.000Z",
        "data": {
            "job_id": job.id,
            "status": "completed",
            "crew": "research",
            "batch": None,
            "event": 3,
            "status_url": f"https://api.example.org/prod/crewai/status/{job.id}",
            "result": "Grüße [1]",
        },
    }
    assert sent.id.startswith(f"msg_{job.id}_0_3_")
    [kept] = world.subscriptions.of(job.id)
    assert (kept.after, kept.due_at, kept.state, [one.status for one in kept.attempts]) == (
        3,
        None,
        State.ACTIVE,
        [204],
    )
    assert world.meter.total[Measure.DELIVERIES] == 1


def test_a_job_without_a_webhook_rings_for_none_and_its_row_says_nothing_of_them(clock: HandSetClock) -> None:
    world = World(clock, ScriptedPost(clock))
    job = world.completed(world.submitted(DEFAULT.model_copy(update={"webhooks": None})))
    assert world.bell.rings == []
    assert job.notify == ()


def test_wanted_events_come_in_order_each_with_its_own_id(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock, 500))
    job = world.submitted(asking(EventType.SUBMITTED, EventType.CLAIMED, EventType.COMPLETED))
    world.notify(job)  # fails: what follows must wait for it
    job = world.completed(job)
    world.notify(job)
    assert types(post) == ["job.submitted"]
    world.pass_until_settled(job)
    assert types(post) == ["job.submitted", "job.submitted", "job.claimed", "job.completed"]
    assert [sent.id.split("_")[-2] for sent in post.sent] == ["1", "1", "2", "3"]
    assert [json.loads(sent.body)["data"]["status"] for sent in post.sent[1:]] == ["pending", "running", "completed"]


def test_the_schedule_of_attempts_then_it_gives_up_visibly(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock, *[400] * 99))
    job = world.completed(world.submitted(DEFAULT))
    world.pass_until_settled(job)
    assert seconds(post) == [pause.total_seconds() for pause in SCHEDULE]
    assert len({sent.id for sent in post.sent}) == 1
    [kept] = world.subscriptions.of(job.id)
    assert (kept.state, kept.due_at) == (State.GAVE_UP, None)
    assert world.meter.total[Measure.DELIVERIES_GIVEN_UP] == 1
    assert world.meter.total[Measure.DELIVERIES_FAILED] == len(SCHEDULE) + 1
    world.notify(job)
    assert len(post.sent) == len(SCHEDULE) + 1


@pytest.mark.parametrize("status", [404, 409, 500, 502, 503, 504])  # 500: n8n, of an execution of its command line
def test_a_workflow_that_has_not_parked_itself_yet_is_asked_again_within_a_minute(
    clock: HandSetClock, status: int
) -> None:
    world = World(clock, post := ScriptedPost(clock, *[status] * 5))
    world.pass_until_settled(world.completed(world.submitted(DEFAULT)))
    assert seconds(post) == [2, 5, 15, 30, 5]


def test_a_receiver_that_is_gone_is_left_alone_until_it_is_asked_for(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock, 410))
    deliveries = Deliveries(world.store, world.subscriptions, world.bell, clock)
    job = world.failed(world.submitted(DEFAULT))
    world.pass_until_settled(job)
    world.notify(job)
    assert len(post.sent) == 1
    assert [one.state for one in world.subscriptions.of(job.id)] == [State.GONE]
    deliveries.rearm(job)  # a retry of the job does not wake it
    assert [one.state for one in world.subscriptions.of(job.id)] == [State.GONE]
    deliveries.redeliver("acme", job.id)
    world.notify(job)
    assert types(post) == ["job.failed", "job.failed"]
    assert post.sent[0].id == post.sent[1].id


@pytest.mark.parametrize(("asked_for", "pause"), [(90, 90), (1, 5), (10**6, 86400)])
def test_retry_after_is_honoured(clock: HandSetClock, asked_for: int, pause: int) -> None:
    world = World(clock, post := ScriptedPost(clock, Outcome(429, retry_after=timedelta(seconds=asked_for))))
    world.pass_until_settled(world.completed(world.submitted(DEFAULT)))
    assert seconds(post) == [pause]


def test_bells_for_early_attempts_are_delayed_and_later_ones_left_to_the_sweeper(clock: HandSetClock) -> None:
    world = World(clock, ScriptedPost(clock, 400, 400, 400))
    job = world.completed(world.submitted(DEFAULT))
    world.bell.rings.clear()
    world.bell.delays.clear()
    world.pass_until_settled(job)
    assert world.bell.delays == [timedelta(seconds=5), timedelta(minutes=5)]


def test_a_notifier_that_dies_in_mid_delivery_is_followed_by_another_with_the_same_message(clock: HandSetClock) -> None:
    class Dies(BaseException):
        pass

    def die() -> Outcome:
        raise Dies

    world = World(clock, post := ScriptedPost(clock, die))
    job = world.completed(world.submitted(DEFAULT))
    with pytest.raises(Dies):
        world.notify(job)
    world.notify(job)  # it is still held
    assert len(post.sent) == 1
    clock.now += LEASE
    assert list(world.subscriptions.due(clock())) == [job.id]
    world.notify(job)
    assert len(post.sent) == 2
    assert post.sent[0].id == post.sent[1].id


def test_two_notifiers_at_once_send_it_once(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    job = world.completed(world.submitted(DEFAULT))
    other = world.another(post)

    def meanwhile() -> Outcome:
        other.notify(job.id, clock() + timedelta(days=1))
        return Outcome(200)

    post.outcomes.append(meanwhile)
    world.notify(job)
    assert len(post.sent) == 1


def test_an_event_that_comes_during_a_delivery_is_not_left_behind(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    job = world.submitted(asking(EventType.SUBMITTED, EventType.COMPLETED))

    def meanwhile() -> Outcome:
        world.completed(job)
        world.another(post).notify(job.id, clock() + timedelta(days=1))  # its bell: dropped
        return Outcome(200)

    post.outcomes.append(meanwhile)
    world.notify(job)
    assert types(post) == ["job.submitted", "job.completed"]
    assert [one.due_at for one in world.subscriptions.of(job.id)] == [None]


def test_a_lost_bell_is_rung_again_by_the_sweeper_while_the_job_is_unfinished_and_after(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    job = world.submitted(DEFAULT)
    deliveries = Deliveries(world.store, world.subscriptions, bell := MemoryDoorbell(), clock)
    pauses = []
    for _ in range(6):
        [kept] = world.subscriptions.of(job.id)
        assert kept.due_at
        pauses.append((kept.due_at - clock.now).total_seconds())
        clock.now = kept.due_at
        deliveries.ring_for_due(clock() + timedelta(minutes=1))
        world.notify(job)
    assert pauses == [120, 120, 240, 480, 960, 960]
    assert bell.rings == [job.id] * 6
    world.bell.out_of_order = True
    job = world.completed(job)
    world.bell.out_of_order = False
    world.pass_until_settled(job)
    assert types(post) == ["job.completed"]


def test_a_retry_of_the_job_arms_its_webhook_again(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    deliveries = Deliveries(world.store, world.subscriptions, world.bell, clock)
    job = world.failed(world.submitted(DEFAULT))
    world.pass_until_settled(job)
    Intervention(world.store, MemoryDoorbell(), clock, POLICY, deliveries=deliveries).retry("acme", job.id)
    [kept] = world.subscriptions.of(job.id)
    assert kept.due_at
    record = world.store.load(job.id)
    assert record
    assert record.job.status is Status.PENDING
    world.pass_until_settled(world.completed(record.job))
    assert types(post) == ["job.failed", "job.completed"]


def test_redelivery_begins_where_it_is_told_and_for_the_tenant_alone(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    deliveries = Deliveries(world.store, world.subscriptions, world.bell, clock)
    job = world.completed(world.submitted(asking(EventType.SUBMITTED, EventType.COMPLETED)))
    world.pass_until_settled(job)
    deliveries.redeliver("acme", job.id)
    world.pass_until_settled(job)
    deliveries.redeliver("acme", job.id, after=0)
    world.pass_until_settled(job)
    assert [sent.id.split("_")[-2] for sent in post.sent] == ["1", "3", "3", "1", "3"]
    with pytest.raises(UnknownJob):
        deliveries.redeliver("zoo", job.id)
    with pytest.raises(UnknownJob):
        deliveries.of("zoo", job.id)


def test_a_redelivery_that_is_asked_for_during_a_delivery_is_not_lost(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock, 204))
    deliveries = Deliveries(world.store, world.subscriptions, world.bell, clock)
    job = world.completed(world.submitted(asking(EventType.SUBMITTED, EventType.COMPLETED)))

    def meanwhile() -> Outcome:
        deliveries.redeliver("acme", job.id, after=0)
        return Outcome(200)

    post.outcomes.append(meanwhile)
    world.pass_until_settled(job)
    assert [sent.id.split("_")[-2] for sent in post.sent] == ["1", "3", "1", "3"]


def test_a_redelivery_leaves_out_nothing_that_is_to_come(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    deliveries = Deliveries(world.store, world.subscriptions, world.bell, clock)
    job = world.submitted(DEFAULT)
    deliveries.redeliver("acme", job.id, after=10**9)
    world.pass_until_settled(world.completed(job))
    assert types(post) == ["job.completed"]


def test_a_webhook_can_be_added_later_and_is_told_of_what_follows(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    deliveries = Deliveries(world.store, world.subscriptions, world.bell, clock)
    job = world.claimed(world.submitted(DEFAULT.model_copy(update={"webhooks": None})))
    webhooks = asking(EventType.CLAIMED, EventType.CANCELLED).webhooks
    assert webhooks
    assert [deliveries.add("acme", job.id, webhooks[0]).number for _ in range(2)] == [0, 1]
    record = world.store.load(job.id)
    assert record
    world.bell.rings.clear()
    job = world.saved(record.job, transitions.cancel(record.job, clock()))
    assert world.bell.rings == [job.id]
    world.pass_until_settled(job)
    assert types(post) == ["job.cancelled"] * 2


def test_a_webhook_that_is_added_after_the_end_does_not_count_the_job_again(
    clock: HandSetClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world = World(clock, post := ScriptedPost(clock))
    job = world.completed(world.submitted(DEFAULT.model_copy(update={"webhooks": None})))
    counted = dict(world.meter.total)
    deliveries = Deliveries(world.store, world.subscriptions, world.bell, clock)
    deliveries.add("acme", job.id, (DEFAULT.webhooks or ())[0])
    world.notify(job)
    assert (post.sent, world.meter.total) == ([], counted)
    assert caplog.messages.count("job completed") == 1


def test_a_webhook_that_is_removed_while_a_message_is_under_way_stays_so(clock: HandSetClock) -> None:
    world = World(clock, ScriptedPost(clock))
    deliveries = Deliveries(world.store, world.subscriptions, world.bell, clock)
    named = (DEFAULT.webhooks or ())[0].model_copy(update={"name": "mine"})

    def removed() -> Outcome:
        deliveries.remove("acme", job.id, "mine")
        return Outcome(500)

    post = ScriptedPost(clock, removed)
    job = world.completed(world.submitted(DEFAULT.model_copy(update={"webhooks": (named,)})))
    world.another(post).notify(job.id, clock() + FOREVER)
    deliveries.rearm(job)
    deliveries.redeliver("acme", job.id)
    world.pass_until_settled(job)
    assert (len(post.sent), [one.state for one in deliveries.of("acme", job.id)]) == (1, [State.REMOVED])


def test_a_webhook_of_a_submission_that_died_is_forgotten(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    job = world.submitted(DEFAULT)
    [orphan] = world.subscriptions.of(job.id)
    world.store.delete(world.saved(job, transitions.cancel(job, clock())))
    world.subscriptions.put(orphan)
    world.pass_until_settled(job)
    assert world.subscriptions.of(job.id) == []
    assert post.sent == []


def test_near_the_end_of_its_invocation_it_rings_for_the_next_one(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    job = world.completed(world.submitted(DEFAULT))
    world.bell.rings.clear()
    world.notifier.notify(job.id, clock() + LEASE / 3)
    assert (post.sent, world.bell.rings) == ([], [job.id])


def test_an_error_of_ours_is_an_attempt_that_failed(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock))
    job = world.completed(world.submitted(asking(form="no such form")))
    world.notify(job)
    [kept] = world.subscriptions.of(job.id)
    assert (post.sent, kept.failures, kept.attempts[0].error) == ([], 1, "internal error: KeyError")


def test_a_job_that_the_sweeper_ends_because_it_can_not_be_read_is_told(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock), inner := MemoryJobStore(clock))
    job = world.submitted(DEFAULT)
    inner.damaged.add(job.id)
    clock.now += 2 * POLICY.max_age
    sweeper = Sweeper(world.store, MemoryDoorbell(), clock, POLICY)
    assert sweeper.sweep(clock() + FOREVER) == {Swept.ENDED: 1}
    assert world.bell.rings == [job.id]
    world.notify(job)
    assert types(post) == ["job.failed"]
    assert json.loads(post.sent[0].body)["data"]["error"]["type"] == "damaged_job"


class Backlog:
    """A queue of bells, some of which were received."""

    def __init__(self, *job_ids: str) -> None:
        self._left = deque(job_ids)

    def receive(self, most: int, wait: int = 0) -> list[Record]:
        some = [self._left.popleft() for _ in range(min(most, len(self._left)))]
        return [{"messageId": job_id, "body": job_id, "eventSource": "aws:sqs"} for job_id in some]

    def delete(self, records: list[Record]) -> None: ...


def test_a_tenants_slow_receivers_keep_no_other_tenant_waiting(clock: HandSetClock) -> None:
    """The other's delivery, behind 300 of these, is made while not one of them has ended."""
    told, over = Event(), Event()

    def post(url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        if url == URL:
            told.set()
        else:
            assert over.wait(30)
        return Outcome(204)

    world = World(clock, post)
    hostile = [world.completed(world.submitted(asking(url=f"{URL}/{nth}"), tenant="evil")) for nth in range(300)]
    mine = world.completed(world.submitted(DEFAULT))
    backlog = Backlog(*(job.id for job in hostile), mine.id)
    world.bell.rings.clear()

    def notify(record: Record) -> None:
        world.notifier.notify(record["body"], clock() + FOREVER)

    with ThreadPoolExecutor(1) as invocation:
        answer = invocation.submit(answer_batch, {"Records": backlog.receive(10)}, notify, backlog)
        try:
            assert told.wait(30)
            assert not answer.done()
        finally:
            over.set()
        assert answer.result() == {"batchItemFailures": []}
    [done] = world.subscriptions.of(mine.id)
    assert done.due_at is None
    put_off = dict(zip(world.bell.rings, world.bell.delays[-len(world.bell.rings) :], strict=True))
    assert len(put_off) > len(hostile) - MOST_AT_ONCE - 10  # the last ones may find room again
    assert max(put_off.values()) > timedelta(seconds=40)  # spread, so that they do not come back at once
    world.pass_until_settled(*hostile, most=400)
    assert all(one.attempts for job in hostile for one in world.subscriptions.of(job.id))


def test_who_was_put_off_comes_at_the_pace_of_its_receivers(clock: HandSetClock) -> None:
    shares = Shares()
    for _ in range(MOST_AT_ONCE):
        assert shares.take("acme", clock()) is None
    began = clock()
    clock.pass_(seconds=17)
    assert shares.take("other", clock()) is None
    shares.give_back("acme", began, clock())
    assert shares.take("acme", clock()) is None
    pauses = [shares.take("acme", clock()) for _ in range(3)]
    assert pauses == [timedelta(seconds=seconds) for seconds in (1.5, 3.0, 4.5)]
    for _ in range(2000):
        shares.take("acme", clock())
    assert shares.take("acme", clock()) == LONGEST_PAUSE
    for _ in range(MOST_AT_ONCE):
        shares.give_back("acme", clock(), clock())
    assert shares.take("acme", clock()) is None


def test_a_clock_that_is_set_back_or_ahead_puts_nobody_off_for_long(clock: HandSetClock) -> None:
    shares = Shares()
    for _ in range(MOST_AT_ONCE):
        assert shares.take("acme", clock()) is None
    assert shares.take("acme", clock())
    began = clock()
    clock.pass_(days=1)
    shares.give_back("acme", began, clock())
    assert shares.take("acme", clock()) is None
    assert (shares.take("acme", clock()) or LONGEST_PAUSE) < LEASE
    clock.pass_(days=-1)
    assert (shares.take("acme", clock()) or LONGEST_PAUSE) <= LEASE


def test_a_tenant_that_was_put_off_once_is_not_kept_for_ever(clock: HandSetClock) -> None:
    shares = Shares()
    for number in range(100):
        for _ in range(MOST_AT_ONCE):
            assert shares.take(f"tenant-{number}", clock()) is None
        assert shares.take(f"tenant-{number}", clock())
        for _ in range(MOST_AT_ONCE):
            shares.give_back(f"tenant-{number}", clock(), clock())
    clock.pass_(hours=1)
    assert shares.take("another", clock()) is None
    shares.give_back("another", clock(), clock())
    assert not shares._of
