"""What a webhook is sent, when, how often, and what is kept of it."""

import json
from datetime import timedelta
from itertools import pairwise

import pytest

from crewrelay.jobs.errors import UnknownJob
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import Measure
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.subscription import LEASE, SCHEDULE, Outcome, State
from crewrelay.jobs.webhooks.deliveries import Deliveries
from crewrelay.testing import MemoryDoorbell
from tests.support.fixtures import HandSetClock
from tests.support.subscribed import FOREVER, POLICY, ScriptedPost, World, asking

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
