"""When a batch's webhook is told of the batch's end, and of what: once, of every item, whatever dies in between."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from crewrelay.jobs.batches.counting import Counting
from crewrelay.jobs.batches.ends import BatchSubjects
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.batch import Batch, BatchItem, subject_id, subscribe_to_end
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.job import JobInput, Status
from crewrelay.jobs.records.subscription import LEASE, Outcome
from crewrelay.jobs.records.webhook import Webhook
from crewrelay.jobs.webhooks.deliveries import Deliveries
from crewrelay.jobs.webhooks.notifier import Notifier
from crewrelay.outbound.forms import BATCH_FORMS
from crewrelay.system import new_id
from crewrelay.testing import MemorySigningSecrets
from tests.support.doubles.meter import MemoryMeter
from tests.support.fixtures import HandSetClock
from tests.support.subscribed import FOREVER, URL, ScriptedPost
from tests.support.uploads import CALLER, Office, line

HOOK = Webhook(url=URL, events=(EventType.COMPLETED,), base_url="https://api.example.org")
INPUT = JobInput(crew="research", inputs={"topic": "it", "language": "en"})


@pytest.fixture
def office(clock: HandSetClock) -> Office:
    return Office(clock)


def uploaded(office: Office, lines: int) -> Batch:
    batch = office.batches.of_file(CALLER, "digest", None, there=True)
    office.files.kept[batch.id] = b"\n".join([*(line(f"n{number}") for number in range(lines)), b"no JSON"])
    return office.batches.commit(batch, HOOK)


def requested(office: Office, items: int, *, within: timedelta = timedelta(seconds=20)) -> Batch:
    named = [(BatchItem(custom_id=str(number)), INPUT) for number in range(items)]
    batch, _ = office.batches.submit("acme", named, "digest", "key", office.clock() + within, HOOK)
    return batch


def notify(office: Office, batch: Batch, post: ScriptedPost, clock: Clock | None = None) -> None:
    """A bell that is answered by a process of its own."""
    subjects = BatchSubjects(Counting(office.table, office.kept), BATCH_FORMS, clock or office.clock).of
    rest = (office.notices, clock or office.clock, new_id, bytes, lambda: 0.0, MemoryMeter(), subjects)
    notifier = Notifier(office.table, office.subscriptions, MemorySigningSecrets(), post, {}, *rest)
    notifier.notify(subject_id(batch.id), office.clock() + FOREVER)


def body(post: ScriptedPost, number: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(post.sent[number].body)
    return found


def counts(**known: int) -> dict[str, int]:
    states = dict.fromkeys([status.value for status in Status], 0)
    return {"total": 0, **states, "rejected": 0, "missing": 0} | known


def test_it_is_told_once_every_item_has_ended(office: Office, clock: HandSetClock) -> None:
    batch, post = uploaded(office, 250), ScriptedPost(clock)
    assert office.notices.rings == [subject_id(batch.id)]
    notify(office, batch, post)  # its file has not been read
    office.work(batch)
    notify(office, batch, post)
    *most, last = office.batches.jobs(batch)
    for job in most:
        office.intervention().cancel("acme", job.id)
    notify(office, batch, post)
    assert post.sent == []
    clock.pass_(seconds=60)
    office.intervention().cancel("acme", last.id)
    for _ in range(3):
        notify(office, batch, post)
    [sent] = post.sent
    url = f"https://api.example.org/crewai/batches/{batch.id}"
    assert body(post) == {
        "type": "batch.completed",
        "timestamp": "2026-01-02T03:05:05.000Z",
        "data": {
            "batch_id": batch.id,
            "state": "submitted",
            "counts": counts(total=251, cancelled=250, rejected=1),
            "error": None,
            "batch_url": url,
            "results_url": f"{url}/results",
        },
    }
    assert sent.id.startswith(f"msg_{subject_id(batch.id)}_0_1_")
    [kept] = office.subscriptions.of(subject_id(batch.id))
    assert (kept.after, kept.due_at, [one.status for one in kept.attempts]) == (1, None, [204])


def test_the_end_of_one_that_took_long_is_looked_for_less_often(office: Office, clock: HandSetClock) -> None:
    batch, post, looks, pauses = requested(office, 3), ScriptedPost(clock), 0, list[timedelta]()
    end = clock() + timedelta(days=1)
    while clock() < end:
        [kept] = office.subscriptions.of(subject_id(batch.id))
        assert kept.due_at
        assert list(office.subscriptions.due(kept.due_at)) == [subject_id(batch.id)]
        pauses.append(kept.due_at - clock())
        clock.now = kept.due_at
        notify(office, batch, post)
        looks += 1
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1] <= timedelta(hours=1), looks < 100) == (timedelta(seconds=5), True, True)
    assert post.sent == []
    short = [delay for delay in office.notices.delays if delay <= timedelta(minutes=15)]
    assert len(short) == len(office.notices.delays)  # the sweeper rings for others


def test_items_that_are_yet_to_be_submitted_have_not_ended(office: Office, clock: HandSetClock) -> None:
    """The request that submits them is under way, or will be repeated; after an hour it is told what is missing."""
    batch, post = requested(office, 3, within=-timedelta(seconds=1)), ScriptedPost(clock)
    notify(office, batch, post)
    assert post.sent == []
    again = requested(office, 3)
    assert again == batch
    assert office.counts(batch) == {"pending": 3}
    office.end_jobs(batch)
    notify(office, batch, post)
    assert body(post)["data"]["counts"] == counts(total=3, completed=3)


def test_what_is_never_submitted_is_missing_after_an_hour(office: Office, clock: HandSetClock) -> None:
    batch, post = requested(office, 3, within=-timedelta(seconds=1)), ScriptedPost(clock)
    clock.pass_(seconds=3600)
    notify(office, batch, post)
    assert body(post)["data"]["counts"] == counts(total=3, missing=3)


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_that_is_refused_is_an_end_too(office: Office, clock: HandSetClock, content: bytes) -> None:
    batch, post = office.batches.of_file(CALLER, "digest", None, there=True), ScriptedPost(clock)
    office.files.kept[batch.id] = content
    office.batches.commit(batch, HOOK)
    office.work(batch)
    notify(office, batch, post)
    data = body(post)["data"]
    assert (data["state"], data["error"]["type"], data["counts"]["total"]) == ("failed", "invalid_upload", 0)


def test_a_cancelled_one_is_told_when_all_its_jobs_are(office: Office, clock: HandSetClock) -> None:
    office.most_unfinished = 100
    batch, post = uploaded(office, 250), ScriptedPost(clock)
    office.work(batch)
    office.batches.cancel(office.batches.of_tenant("acme", batch.id), clock())
    notify(office, batch, post)
    assert post.sent == []
    clock.pass_(seconds=5)
    office.work(batch)
    notify(office, batch, post)
    data = body(post)["data"]
    assert (data["state"], data["counts"]["cancelled"], data["counts"]["pending"]) == ("cancelled", 88, 0)


def test_a_process_that_dies_as_it_sends_loses_nothing_and_the_id_stays(office: Office, clock: HandSetClock) -> None:
    class Killed(BaseException):
        pass

    def dies() -> Outcome:
        raise Killed

    batch = requested(office, 2)
    office.end_jobs(batch)
    post = ScriptedPost(clock, dies, 500)
    with pytest.raises(Killed):
        notify(office, batch, post)
    notify(office, batch, post)  # it is held
    assert len(post.sent) == 1
    clock.pass_(seconds=LEASE.total_seconds())
    assert list(office.subscriptions.due(clock())) == [subject_id(batch.id)]
    notify(office, batch, post)
    clock.pass_(seconds=5)
    notify(office, batch, post)
    assert [sent.id for sent in post.sent] == [post.sent[0].id] * 3
    assert len({json.loads(sent.body)["timestamp"] for sent in post.sent}) == 1


def test_every_attempt_has_the_same_id_however_the_clock_runs(office: Office, clock: HandSetClock) -> None:
    def running() -> datetime:
        clock.pass_(seconds=0.001)
        return clock()

    batch, post = requested(office, 2), ScriptedPost(clock, 503, 503)
    office.end_jobs(batch)
    for _ in range(3):
        notify(office, batch, post, running)
        clock.pass_(seconds=10)
    assert [sent.id for sent in post.sent] == [post.sent[0].id] * 3
    assert len({json.loads(sent.body)["timestamp"] for sent in post.sent}) == 1


def test_a_retry_after_the_end_is_no_second_end_but_it_can_be_told_again(office: Office, clock: HandSetClock) -> None:
    batch, post = requested(office, 2), ScriptedPost(clock)
    office.end_jobs(batch, Status.FAILED)
    notify(office, batch, post)
    one, _ = office.batches.jobs(batch)
    office.intervention().retry("acme", one.id)
    office.end_jobs(batch)
    clock.pass_(seconds=600)
    notify(office, batch, post)
    assert len(post.sent) == 1
    deliveries = Deliveries(office.table, office.subscriptions, office.notices, clock)
    deliveries.redeliver_batch(batch)
    assert office.notices.rings[-1] == subject_id(batch.id)
    notify(office, batch, post)
    assert post.sent[0].id == post.sent[1].id
    assert body(post)["data"]["counts"] == counts(total=2, completed=1, failed=1)


def test_an_orphan_whose_batch_never_came_goes_after_an_hour(office: Office, clock: HandSetClock) -> None:
    batch, post = office.batches.of_file(CALLER, "digest", None, there=True), ScriptedPost(clock)
    office.subscriptions.put(subscribe_to_end(batch, HOOK))
    clock.pass_(seconds=3601)
    notify(office, batch, post)
    assert (office.subscriptions.of(subject_id(batch.id)), post.sent) == ([], [])


def test_a_job_of_the_same_id_has_webhooks_of_its_own(office: Office, clock: HandSetClock) -> None:
    batch = requested(office, 1)
    job = office.submission().submit("acme", INPUT.model_copy(update={"webhooks": (HOOK,)}), "batch:key")
    assert job.id == batch.id
    of_job, of_batch = (office.subscriptions.of(each) for each in (job.id, subject_id(batch.id)))
    assert [one.batch for one in (*of_job, *of_batch)] == [None, batch.id]
