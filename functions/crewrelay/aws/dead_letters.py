"""The dead-letter queues: what no redelivery would mend is put there at once, and brought back by hand."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from crewrelay.aws.batch import Record
from crewrelay.aws.clients import unavailable_if_it_fails
from crewrelay.jobs.errors import CrewrelayError, InvalidRequest

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = logging.getLogger(__name__)

_LONGEST_BODY = 50_000  # characters: with the reason it must fit a message of 256 KB, and no good one is as long
MESSAGE_ID = "crewrelay_message_id"  # the attribute with the id that a message had at first: a copy gets another


class DeadLetters:
    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def put(self, record: Record, refusal: CrewrelayError) -> None:
        """Keep a record with the reason why it was refused. Raises Unavailable."""
        logger.warning("refused: %s", refusal.code)
        attributes = {"code": refusal.code, "reason": _printable(str(refusal)), MESSAGE_ID: first_id(record)}
        with unavailable_if_it_fails("dead-letter queue"):
            self._client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=record["body"][:_LONGEST_BODY] or "(empty)",
                MessageAttributes=strings(attributes),
            )


def first_id(record: Record) -> str:
    """The messageId under which a record was first sent, however often it was brought back since."""
    attribute: dict[str, Any] = (record.get("messageAttributes") or {}).get(MESSAGE_ID) or {}
    return str(attribute.get("stringValue") or record["messageId"])


def strings(attributes: dict[str, str]) -> Any:
    return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}


def _printable(text: str) -> str:
    """SQS refuses control characters, and a message may have them in the names of its fields."""
    return "".join(character if character.isprintable() else "?" for character in text)[:1000]


class Redriven(NamedTuple):
    """Of the messages that were in the dead-letter queue."""

    brought_back: int
    left: int


def redrive(client: "SQSClient", dlq_url: str, queue_url: str, check: Callable[[str], object]) -> Redriven:
    """Send every message back to its queue, but those whose body `check` refuses as InvalidRequest: they stay.

    A message is deleted only once its copy was accepted. Sent twice, it starts nothing twice: a job's bell is
    dropped if there is nothing to do, and a message of another system keeps its first id.
    """
    brought_back, left = 0, 0
    for message in _every(client, dlq_url):
        body = message["Body"]
        try:
            check(body)
        except InvalidRequest:
            left += 1
            continue
        attribute = message.get("MessageAttributes", {}).get(MESSAGE_ID, {})
        first = attribute.get("StringValue") or message["MessageId"]
        with unavailable_if_it_fails("queue"):
            client.send_message(QueueUrl=queue_url, MessageBody=body, MessageAttributes=strings({MESSAGE_ID: first}))
            client.delete_message(QueueUrl=dlq_url, ReceiptHandle=message["ReceiptHandle"])
        brought_back += 1
    return Redriven(brought_back, left)


def _every(client: "SQSClient", queue_url: str) -> Iterator[Any]:
    """Each message once: those that are left come to sight again after two minutes."""
    seen: set[str] = set()
    empty = 0
    while empty < 2:  # a short poll asks only some of SQS's servers
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
