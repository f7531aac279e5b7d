"""SQS events: every record on its own thread, and an answer that fails only those that failed.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import Any, Protocol, TypedDict

from crewrelay.jobs.log_keys import logged_with

logger = logging.getLogger(__name__)

# A renewal under way, a release and a ring, each of which takes 9 s when AWS is silent (clients.py), and 3 s for crews
# that do not stop (bells.py).
_GIVING_BACK = timedelta(seconds=30)


class BatchItemFailure(TypedDict):
    itemIdentifier: str


class BatchResponse(TypedDict):
    batchItemFailures: list[BatchItemFailure]


Record = dict[str, Any]


class Backlog(Protocol):
    """What waits in the queue beyond the batch. Both may raise."""

    def take(self) -> Record | None:
        """The next message, if one is at hand."""

    def done(self, record: Record) -> None:
        """It is not to come again."""


def answer_batch(
    event: dict[str, Any], handle: Callable[[Record], None], backlog: Backlog | None = None
) -> BatchResponse:
    """Hand every record to `handle`, all at once. A record whose handling raises is reported, the others are done.

    While some take long, the places of those that are done go to what waits in the `backlog`. Raises ValueError if the
    event is not SQS's.
    """
    records = event.get("Records")
    if not isinstance(records, list) or not all(map(_from_sqs, records)):
        raise ValueError("not an SQS event: this function is to be invoked by a queue")
    if not records:
        return {"batchItemFailures": []}
    places = _Places(len(records), handle, backlog)
    with ThreadPoolExecutor(max_workers=len(records)) as pool:
        threads = [pool.submit(copy_context().run, places.work, record) for record in records]
        done = [thread.result() for thread in threads]
    return {
        "batchItemFailures": [
            {"itemIdentifier": record["messageId"]} for record, ok in zip(records, done, strict=True) if not ok
        ]
    }


class _Places:
    """One for each record."""

    def __init__(self, number: int, handle: Callable[[Record], None], backlog: Backlog | None) -> None:
        self._busy = number
        self._handle = handle
        self._backlog = backlog
        self._turn = threading.Lock()

    def work(self, record: Record) -> bool:
        """Whether the record was done. What is taken after it is no business of the event source."""
        try:
            done = _done(record, self._handle)
            if self._backlog:
                self._go_on(self._backlog)
            return done
        finally:
            with self._turn:
                self._busy -= 1

    def _go_on(self, backlog: Backlog) -> None:
        """Not when all others are done: then the invocation is over."""
        try:
            while self._busy > 1 and (record := backlog.take()):
                if _done(record, self._handle):
                    backlog.done(record)
        except Exception:  # the event source goes on with the next invocation
            logger.warning("could not go on with what waits in the queue", exc_info=True)


def _from_sqs(record: object) -> bool:
    return isinstance(record, dict) and record.get("eventSource") == "aws:sqs"


def _done(record: Record, handle: Callable[[Record], None]) -> bool:
    with logged_with(message_id=record["messageId"]):
        try:
            handle(record)
        except Exception:
            logger.exception("record failed")
            return False
        return True


def last_moment(context: Any, now: datetime) -> datetime:
    """When an invocation must have given back what it holds: its own time limit, less what giving back may take."""
    return now + timedelta(milliseconds=context.get_remaining_time_in_millis()) - _GIVING_BACK
