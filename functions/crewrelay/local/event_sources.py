"""Plays what invokes event handlers on AWS: Lambda's SQS event source mapping, and EventBridge's schedule.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crewrelay.aws.backlog import record_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = logging.getLogger(__name__)

_SOURCE = {"eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:local", "awsRegion": "us-east-1"}
_PAUSE = 0.1  # seconds between looks whether to poll again

EventHandler = Callable[[dict[str, Any], Any], Any]


class Context:
    """What a handler sees of its invocation."""

    def __init__(self, function_name: str, timeout: float) -> None:
        self.function_name = function_name
        self.aws_request_id = str(uuid.uuid4())
        self._end = time.monotonic() + timeout

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._end - time.monotonic()) * 1000))


class EventSource:
    """Polls a queue while it is to, hands real event shapes to a handler, deletes what it did: `concurrency`
    invocations at a time, each of up to ten messages.
    """

    def __init__(
        self,
        client: "SQSClient",
        queue_url: str,
        handler: EventHandler,
        *,
        name: str,
        concurrency: int,
        timeout: float,
        is_to_poll: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client = client
        self._queue_url = queue_url
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
        """Poll no more, and wait until everything is done that was received."""
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
            except Exception:  # whatever it is, the next poll may do better, and nobody else would poll
                logger.warning("%s: could not poll", self._name, exc_info=True)
                self._over.wait(1)

    def poll_once(self, wait: int = 1) -> int:
        """One receive and one invocation; how many messages it had."""
        messages = self._client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if messages:
            records = [record_of(message) | _SOURCE for message in messages]
            done = self._invoke(records)
            if done:
                self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=done)  # type: ignore[arg-type]
        return len(messages)

    def _invoke(self, records: list[dict[str, Any]]) -> list[dict[str, str]]:
        """Entries to delete. A handler that raises, or answers nonsense, has done none of its batch."""
        event = json.loads(json.dumps({"Records": records}))
        try:
            answer = self._handler(event, Context(self._name, self._timeout))
            failed = {failure["itemIdentifier"] for failure in (answer or {}).get("batchItemFailures", [])}
        except Exception:
            logger.exception("%s crashed", self._name)
            return []
        if not failed <= {record["messageId"] for record in records}:
            return []
        return [
            {"Id": str(index), "ReceiptHandle": record["receiptHandle"]}
            for index, record in enumerate(records)
            if record["messageId"] not in failed
        ]


class Schedule:
    """Invokes a handler every so many seconds, one invocation after the other."""

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
            except Exception:  # the next one may do better
                logger.exception("%s crashed", self._name)
