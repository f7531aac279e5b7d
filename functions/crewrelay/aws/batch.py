"""SQS events: every record on its own thread, and an answer that fails only those that failed.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import Any, TypedDict

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


def answer_batch(event: dict[str, Any], handle: Callable[[Record], None]) -> BatchResponse:
    """Hand every record to `handle`, all at once. A record whose handling raises is reported, the others are done.

    Raises ValueError if the event is not SQS's.
    """
    records = event.get("Records")
    if not isinstance(records, list) or not all(map(_from_sqs, records)):
        raise ValueError("not an SQS event: this function is to be invoked by a queue")
    if not records:
        return {"batchItemFailures": []}
    with ThreadPoolExecutor(max_workers=len(records)) as pool:
        threads = [pool.submit(copy_context().run, _done, record, handle) for record in records]
        done = [thread.result() for thread in threads]
    return {
        "batchItemFailures": [
            {"itemIdentifier": record["messageId"]} for record, ok in zip(records, done, strict=True) if not ok
        ]
    }


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
