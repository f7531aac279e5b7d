"""Messages as the records of Lambda's SQS event, and the ports to the queues that they come from.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from typing import Any, Protocol

from crewrelay.jobs.errors import CrewrelayError

Record = dict[str, Any]
MESSAGE_ID = "crewrelay_message_id"  # attribute with the original message id: SQS gives a copy a new one


class Queue(Protocol):
    """Every method may raise Unavailable."""

    def receive(self, most: int, wait: int = 0) -> list[Record]:
        """Up to ten messages, which others don't receive until their visibility timeout. Waits so many seconds for the
        first one.
        """

    def delete(self, records: list[Record]) -> None: ...


class DeadLetters(Protocol):
    def put(self, record: Record, refusal: CrewrelayError) -> None:
        """Keep an invalid message with the reason of its refusal. Raises Unavailable."""


def first_id(record: Record) -> str:
    """The original messageId of a record, however often it was redriven."""
    attribute: dict[str, Any] = (record.get("messageAttributes") or {}).get(MESSAGE_ID) or {}
    return str(attribute.get("stringValue") or record["messageId"])
