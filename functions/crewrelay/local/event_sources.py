"""Local versions of Lambda's SQS event source mapping and of EventBridge's schedule.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from crewrelay.events.records import Queue, Record

logger = logging.getLogger(__name__)

_SOURCE = {"eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:local", "awsRegion": "us-east-1"}
_PAUSE = 0.1  # seconds between checks of `is_to_poll`

EventHandler = Callable[[dict[str, Any], Any], Any]


class Context:
    """The Lambda context of an invocation, as far as handlers use it."""

    def __init__(self, function_name: str, timeout: float) -> None:
        self.function_name = function_name
        self.aws_request_id = str(uuid.uuid4())
        self._end = time.monotonic() + timeout

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._end - time.monotonic()) * 1000))


class EventSource:
    """Polls a queue while `is_to_poll()`, invokes a handler with Lambda's event shape, and deletes messages that it did
    not report as failed: `concurrency` invocations at a time, each with up to ten messages.
    """

    def __init__(
        self,
        queue: Queue,
        handler: EventHandler,
        *,
        name: str,
        concurrency: int,
        timeout: float,
        is_to_poll: Callable[[], bool] = lambda: True,
    ) -> None:
        self._queue = queue
        self._handler = handler
        self._name = name
        self._timeout = timeout  # seconds
        self._is_to_poll = is_to_poll
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._poll, name=f"{name}-{number}", daemon=True) for number in range(concurrency)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop polling, and wait until all received messages are handled."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _poll(self) -> None:
        while not self._over.is_set():
            if not self._is_to_poll():
                self._over.wait(_PAUSE)
                continue
            try:
                self.poll_once()
            except Exception:  # keep polling: the next poll may succeed
                logger.warning("%s: could not poll", self._name, exc_info=True)
                self._over.wait(1)

    def poll_once(self, wait: int = 1) -> int:
        """Receive once and invoke the handler once. Returns the number of messages."""
        records = self._queue.receive(10, wait)
        if records and (done := self._invoke(records)):
            self._queue.delete(done)
        return len(records)

    def _invoke(self, records: list[Record]) -> list[Record]:
        """Those to delete: none if the handler raises or returns an invalid response."""
        event = json.loads(json.dumps({"Records": [record | _SOURCE for record in records]}))
        try:
            answer = self._handler(event, Context(self._name, self._timeout))
            failed = {failure["itemIdentifier"] for failure in (answer or {}).get("batchItemFailures", [])}
        except Exception:
            logger.exception("%s crashed", self._name)
            return []
        if not failed <= {record["messageId"] for record in records}:
            return []
        return [record for record in records if record["messageId"] not in failed]


class Schedule:
    """Invokes a handler every `seconds`, one invocation at a time."""

    def __init__(self, handler: EventHandler, *, name: str, seconds: float, timeout: float) -> None:
        self._handler = handler
        self._name = name
        self._seconds = seconds
        self._timeout = timeout  # seconds

    def start(self) -> None:
        threading.Thread(target=self._invoke_for_ever, name=self._name, daemon=True).start()

    def _invoke_for_ever(self) -> None:
        while True:
            time.sleep(self._seconds)
            try:
                self._handler(
                    {"source": "aws.events", "detail-type": "Scheduled Event"}, Context(self._name, self._timeout)
                )
            except Exception:  # keep going: the next one may succeed
                logger.exception("%s crashed", self._name)
