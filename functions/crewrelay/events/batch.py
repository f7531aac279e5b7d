"""SQS events: each record on its own thread, with a partial batch response.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import Any, TypedDict

from crewrelay.events.records import Queue, Record
from crewrelay.jobs.log_keys import logged_with

logger = logging.getLogger(__name__)

# Time to hand back unfinished jobs: a renewal under way, a release and a ring, 9 s each if AWS does not answer
# (clients.py), and 3 s for crews that do not stop (bells.py).
_HAND_BACK_TIME = timedelta(seconds=30)


class BatchItemFailure(TypedDict):
    itemIdentifier: str


class BatchResponse(TypedDict):
    batchItemFailures: list[BatchItemFailure]


def answer_batch(
    event: dict[str, Any],
    handle: Callable[[Record], None],
    backlog: Queue | None = None,
    is_open: Callable[[], bool] = lambda: True,
) -> BatchResponse:
    """Call `handle` for all records in parallel; those for which it raises are reported as failures.

    While some records still run and `is_open()`, threads that are done receive messages from the `backlog`. Raises
    ValueError if the event is not from SQS.
    """
    records = event.get("Records")
    if not isinstance(records, list) or not all(map(_from_sqs, records)):
        raise ValueError("not an SQS event: only an SQS queue may invoke this function")
    if not records:
        return {"batchItemFailures": []}
    slots = _Slots(len(records), handle, backlog, is_open)
    with ThreadPoolExecutor(max_workers=len(records)) as pool:
        threads = [pool.submit(copy_context().run, slots.work, record) for record in records]
        done = [thread.result() for thread in threads]
    return {
        "batchItemFailures": [
            {"itemIdentifier": record["messageId"]} for record, ok in zip(records, done, strict=True) if not ok
        ]
    }


class _Slots:
    """One slot for each record of the batch."""

    def __init__(
        self, number: int, handle: Callable[[Record], None], backlog: Queue | None, is_open: Callable[[], bool]
    ) -> None:
        self._busy = number
        self._handle = handle
        self._backlog = backlog
        self._is_open = is_open
        self._turn = threading.Lock()

    def work(self, record: Record) -> bool:
        """Handle the record, then the backlog. Returns whether the record succeeded; the backlog deletes its own."""
        try:
            done = _done(record, self._handle)
            if self._backlog:
                self._drain(self._backlog)
            return done
        finally:
            with self._turn:
                self._busy -= 1

    def _drain(self, backlog: Queue) -> None:
        """Handle messages as long as another record of the batch keeps the invocation running."""
        try:
            while self._busy > 1 and self._is_open() and (received := backlog.receive(1)):
                if _done(received[0], self._handle):
                    backlog.delete(received)
        except Exception:  # the event source delivers them to the next invocation
            logger.warning("could not handle a further message of the queue", exc_info=True)


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
    """The moment by which an invocation must start to hand back its jobs, to be done before its own timeout."""
    return now + timedelta(milliseconds=context.get_remaining_time_in_millis()) - _HAND_BACK_TIME
