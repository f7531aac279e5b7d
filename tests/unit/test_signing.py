"""Signatures of webhooks, by the judgement of the reference library, and the messages that are signed."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.webhooks.signing import rotate, secret_of, signed
from crewrelay.testing import MemorySigningSecrets
from tests.support.fixtures import HandSetClock
from tests.support.stored_jobs import ANSWER
from tests.support.subscribed import POLICY, ScriptedPost, Sent, World, asking


def sent_for(clock: HandSetClock, form: str = "standard", text: str = "") -> tuple[World, Sent]:
    world = World(clock, post := ScriptedPost(clock))
    running = world.claimed(world.submitted(asking(form=form)))
    world.store.put_answer(running, ANSWER.model_copy(update={"text": text or ANSWER.text}))
    world.notify(world.saved(running, transitions.complete(running, clock())))
    return world, post.sent[0]


@pytest.fixture
def now(clock: HandSetClock) -> None:
    clock.now = datetime.now(UTC)  # the library has no other clock


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("form", ["standard", "cloudevents"])
def test_the_reference_library_accepts_a_message_and_nothing_that_was_changed(clock: HandSetClock, form: str) -> None:
    world, sent = sent_for(clock, form)
    secret = secret_of(world.secrets, "acme", clock(), bytes)
    verifier, headers = Webhook(secret.current), dict(sent.headers)
    assert verifier.verify(sent.body, headers) == json.loads(sent.body)
    for changed in (sent.body + b" ", sent.body.replace(b"completed", b"cancelled")):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(changed, headers)
    with pytest.raises(WebhookVerificationError):
        verifier.verify(sent.body, headers | {"webhook-id": "msg_another"})


@pytest.mark.usefixtures("now")
def test_receivers_with_the_old_and_with_the_new_secret_accept_a_message_after_a_rotation(clock: HandSetClock) -> None:
    secrets, random = MemorySigningSecrets(), iter((b"a" * 32, b"b" * 32))
    old = secret_of(secrets, "acme", clock(), lambda _: next(random))
    new = rotate(secrets, "acme", clock(), lambda _: next(random))
    headers = signed(new, "msg_1", clock(), b"{}")
    for secret in (old.current, new.current):
        assert Webhook(secret).verify(b"{}", headers) == {}


def data_of(sent: Sent) -> Any:
    return json.loads(sent.body)["data"]


def test_a_long_result_is_left_to_be_fetched(clock: HandSetClock) -> None:
    _, short = sent_for(clock, text="ü" * 9_000)
    _, long = sent_for(clock, text="ü" * 10_000)
    assert data_of(short)["result"] == "ü" * 9_000
    assert "result" not in data_of(long)
    assert data_of(long)["result_url"] == data_of(long)["status_url"]
    assert max(len(short.body), len(long.body)) <= 20_000


def test_a_cloud_event_has_the_attributes_of_its_specification(clock: HandSetClock) -> None:
    _, sent = sent_for(clock, "cloudevents")
    event = json.loads(sent.body)
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": sent.id,
        "source": "/crewrelay/acme",
        "type": "crewrelay.job.completed",
        "subject": data["job_id"],
        "time": "2026-01-02T03:04:05.000Z",
        "datacontenttype": "application/json",
    }
    assert sent.headers["Content-Type"] == "application/cloudevents+json"


def test_a_failure_is_told_with_its_reason_as_long_as_it_is_the_last_one(clock: HandSetClock) -> None:
    world = World(clock, post := ScriptedPost(clock, 500))
    job = world.failed(world.submitted(asking(EventType.FAILED)))
    world.notify(job)
    world.saved(job, transitions.retry(job, clock(), POLICY))
    clock.pass_(minutes=1)
    world.notify(job)
    errors = [data_of(sent)["error"] for sent in post.sent]
    assert errors[0] == {"type": "TimeoutError", "message": "The model did not answer."}
    assert errors[1] == {"type": "TimeoutError", "message": None}
