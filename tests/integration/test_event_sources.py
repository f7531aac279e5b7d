"""What plays Lambda's event source on one machine: when it polls, and when it doesn't."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crewrelay.aws.queue import SqsQueue
from crewrelay.local.event_sources import EventSource
from tests.support.fixtures import Storage
from tests.support.waiting import wait_until

TIMEOUT = 20
ATTRIBUTES: Any = {"code": {"DataType": "String", "StringValue": "one"}}


class Handler:
    """Says what it was handed, and keeps it until it may end."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.may_end = threading.Event()

    def __call__(self, event: dict[str, Any], _: Any) -> None:
        self.bodies += [record["body"] for record in event["Records"]]
        assert self.may_end.wait(TIMEOUT)


@pytest.fixture
def handler() -> Handler:
    return Handler()


NewSource = Callable[..., EventSource]


@pytest.fixture
def new_source(storage: Storage, handler: Handler) -> Iterator[NewSource]:
    started: list[EventSource] = []

    def new(**options: Any) -> EventSource:
        source = EventSource(
            SqsQueue(storage.sqs, storage.queue_url), handler, name="worker", concurrency=1, timeout=60, **options
        )
        started.append(source)
        source.start()
        return source

    yield new
    handler.may_end.set()
    for source in started:
        source.stop()


def test_it_polls_only_while_it_is_to(storage: Storage, handler: Handler, new_source: NewSource) -> None:
    open_, asked = threading.Event(), threading.Semaphore(0)

    def is_to_poll() -> bool:
        asked.release()
        return open_.is_set()

    storage.sqs.send_message(QueueUrl=storage.queue_url, MessageBody="a bell")
    new_source(is_to_poll=is_to_poll)
    for _ in range(3):
        assert asked.acquire(timeout=TIMEOUT)
    assert handler.bodies == []
    open_.set()
    wait_until(lambda: handler.bodies == ["a bell"], within=TIMEOUT)


def test_it_stops_once_what_it_received_is_done(storage: Storage, handler: Handler, new_source: NewSource) -> None:
    source = new_source()
    storage.sqs.send_message(QueueUrl=storage.queue_url, MessageBody="a bell")
    wait_until(lambda: handler.bodies, within=TIMEOUT)
    stopping = threading.Thread(target=source.stop)
    stopping.start()
    storage.sqs.send_message(QueueUrl=storage.queue_url, MessageBody="another")
    assert stopping.is_alive()
    handler.may_end.set()
    stopping.join(TIMEOUT)
    assert not stopping.is_alive()
    assert handler.bodies == ["a bell"]
    left = storage.sqs.receive_message(QueueUrl=storage.queue_url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in left] == ["another"]  # the first one is deleted


def test_a_queue_gives_what_waits_and_deletes_what_is_done(storage: Storage) -> None:
    queue = SqsQueue(storage.sqs, storage.queue_url)
    storage.sqs.send_message(QueueUrl=storage.queue_url, MessageBody="a bell", MessageAttributes=ATTRIBUTES)
    (received,) = queue.receive(1)
    assert (received["body"], received["eventSource"]) == ("a bell", "aws:sqs")
    assert received["messageAttributes"]["code"]["stringValue"] == "one"
    assert received["attributes"]["ApproximateReceiveCount"] == "1"
    assert queue.receive(1) == []
    queue.delete([received])
    left: Any = storage.sqs.get_queue_attributes(QueueUrl=storage.queue_url, AttributeNames=["All"])["Attributes"]
    assert left["ApproximateNumberOfMessagesNotVisible"] == "0"
