"""The dead-letter queues: invalid messages go there at once; `crewrelay redrive` sends them back."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from crewrelay.aws.clients import unavailable_if_it_fails
from crewrelay.aws.queue import record_of
from crewrelay.events.records import MESSAGE_ID, Record, first_id
from crewrelay.jobs.errors import CrewrelayError, InvalidRequest

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = logging.getLogger(__name__)

_LONGEST_BODY = 50_000  # characters: with the reason it must fit a message of 256 KB; valid bodies are shorter


class SqsDeadLetters:
    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def put(self, record: Record, refusal: CrewrelayError) -> None:
        """Send a record with the reason of its refusal. Raises Unavailable."""
        logger.warning("refused: %s", refusal.code)
        attributes = {"code": refusal.code, "reason": _printable(str(refusal)), MESSAGE_ID: first_id(record)}
        with unavailable_if_it_fails("dead-letter queue"):
            self._client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=record["body"][:_LONGEST_BODY] or "(empty)",
                MessageAttributes=strings(attributes),
            )


def strings(attributes: dict[str, str]) -> Any:
    return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}


def _printable(text: str) -> str:
    """SQS refuses control characters, and field names in a reason may have them."""
    return "".join(character if character.isprintable() else "?" for character in text)[:1000]


class Redriven(NamedTuple):
    """Numbers of messages."""

    brought_back: int
    left: int


def redrive(client: "SQSClient", dlq_url: str, queue_url: str, check: Callable[[str], object]) -> Redriven:
    """Send every message back to its queue, except those whose body `check` refuses with InvalidRequest.

    A message is deleted only once its copy was accepted. A duplicate is harmless: an extra bell is dropped, and an
    intake message keeps its original id, which is its idempotency key.
    """
    brought_back, left = 0, 0
    for message in _every(client, dlq_url):
        body = message["Body"]
        try:
            check(body)
        except InvalidRequest:
            left += 1
            continue
        attributes = strings({MESSAGE_ID: first_id(record_of(message))})
        with unavailable_if_it_fails("queue"):
            client.send_message(QueueUrl=queue_url, MessageBody=body, MessageAttributes=attributes)
            client.delete_message(QueueUrl=dlq_url, ReceiptHandle=message["ReceiptHandle"])
        brought_back += 1
    return Redriven(brought_back, left)


def _every(client: "SQSClient", queue_url: str) -> Iterator[Any]:
    """Each message once; those not deleted become visible again after two minutes."""
    seen: set[str] = set()
    empty = 0
    while empty < 2:  # one empty poll does not prove that the queue is empty
        with unavailable_if_it_fails("dead-letter queue"):
            messages = client.receive_message(
                QueueUrl=queue_url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=120,
                WaitTimeSeconds=1,
                MessageAttributeNames=["All"],
            ).get("Messages", [])
        fresh = [message for message in messages if message["MessageId"] not in seen]
        seen.update(message["MessageId"] for message in fresh)
        empty = 0 if fresh else empty + 1
        yield from fresh
