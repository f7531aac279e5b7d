"""A batch of messages, side by side: one that takes long keeps no other waiting."""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from crewrelay.events.batch import answer_batch
from crewrelay.events.records import Record
from tests.support.fixtures import Figure
from tests.support.waiting import wait_until

TIMEOUT = 10


def record(name: str) -> Record:
    return {"messageId": name, "receiptHandle": f"of {name}", "eventSource": "aws:sqs", "body": name}


def event(*names: str) -> dict[str, Any]:
    return {"Records": [record(name) for name in names]}


class MemoryQueue:
    """A queue with these messages; the n-th receive may fail."""

    def __init__(self, *names: str, failing: int = 0) -> None:
        self.waiting = list(names)
        self.deleted: list[str] = []
        self.receives = 0
        self._failing = failing
        self._turn = threading.Lock()

    def receive(self, most: int, wait: int = 0) -> list[Record]:
        with self._turn:
            self.receives += 1
            if self.receives == self._failing:
                raise ConnectionError("the queue does not answer")
            received, self.waiting = self.waiting[:most], self.waiting[most:]
            return list(map(record, received))

    def delete(self, records: list[Record]) -> None:
        with self._turn:
            self.deleted += [record["messageId"] for record in records]


class Handler:
    """The message `slow` takes until it may end; the names of those that are done."""

    def __init__(self, failing: str = "") -> None:
        self.done: list[str] = []
        self.may_end = threading.Event()
        self._failing = failing

    def __call__(self, record: Record) -> None:
        if record["body"] == "slow":
            assert self.may_end.wait(TIMEOUT)
        if record["body"] == self._failing:
            raise ValueError("no good")
        self.done.append(record["body"])


class Answering(threading.Thread):
    def __init__(self, event: dict[str, Any], handle: Callable[[Record], None], backlog: MemoryQueue | None) -> None:
        super().__init__(daemon=True)
        self._arguments = event, handle, backlog
        self.failed: list[str] | None = None
        self.start()

    def run(self) -> None:
        response = answer_batch(*self._arguments)
        self.failed = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def test_while_one_takes_long_the_others_places_are_used() -> None:
    handler, backlog = Handler(failing="bad"), MemoryQueue("a", "bad", "b", "c")
    answering = Answering(event("slow", "quick"), handler, backlog)
    wait_until(lambda: set(handler.done) == {"quick", "a", "b", "c"}, within=TIMEOUT)
    wait_until(lambda: backlog.receives == 5, within=TIMEOUT)  # it is empty, and not asked for ever
    handler.may_end.set()
    answering.join(TIMEOUT)
    assert answering.failed == []
    assert backlog.deleted == ["a", "b", "c"]  # what failed stays in the queue


def test_the_last_one_takes_no_more() -> None:
    handler, backlog = Handler(), MemoryQueue("a")
    assert answer_batch(event("alone"), handler, backlog) == {"batchItemFailures": []}
    assert (handler.done, backlog.receives) == (["alone"], 0)


def test_a_function_that_is_ending_takes_no_more() -> None:
    handler, backlog = Handler(), MemoryQueue("a")
    handler.may_end.set()
    answer_batch(event("slow", "quick"), handler, backlog, is_open=lambda: False)
    assert backlog.receives == 0


def test_a_queue_that_does_not_answer_costs_nothing_that_came_with_the_batch() -> None:
    handler, backlog = Handler(failing="bad"), MemoryQueue("a", failing=1)
    answering = Answering(event("slow", "bad"), handler, backlog)
    wait_until(lambda: backlog.receives == 1, within=TIMEOUT)
    handler.may_end.set()
    answering.join(TIMEOUT)
    assert answering.failed == ["bad"]
    assert handler.done == ["slow"]


JOBS, BATCH, MEAN = 200, 10, 0.02


def test_how_many_places_are_busy(figure: Figure) -> None:
    """Jobs of exponential durations, as many as the queue has."""
    durations = random.Random(1)
    seconds = {str(number): durations.expovariate(1 / MEAN) for number in range(JOBS)}

    def handle(record: Record) -> None:
        time.sleep(seconds[record["body"]])  # the work itself, whose share of the time is measured

    def busy(go_on: bool) -> float:
        """The share of the places' time that jobs took."""
        backlog, begun = MemoryQueue(*seconds), time.monotonic()
        while backlog.waiting:
            batch = [backlog.waiting.pop(0) for _ in range(BATCH)]
            answer_batch(event(*batch), handle, backlog if go_on else None)
        return sum(seconds.values()) / BATCH / (time.monotonic() - begun)

    before, after = busy(go_on=False), busy(go_on=True)
    figure(
        f"{JOBS} jobs of exponential durations, batches of {BATCH}: {before:.0%} of the places busy, now {after:.0%}"
    )
    assert after > 1.5 * before
