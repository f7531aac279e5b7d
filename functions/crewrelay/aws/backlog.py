"""Receives further messages from a function's own queue while its batch is still running."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crewrelay.aws.batch import Record

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsBacklog:
    """Backlog on SQS, empty unless `is_open()`. A message not marked done reappears after its visibility timeout."""

    def __init__(self, client: "SQSClient", queue_url: str, is_open: Callable[[], bool]) -> None:
        self._client = client
        self._queue_url = queue_url
        self._is_open = is_open

    def take(self) -> Record | None:
        if not self._is_open():
            return None
        messages = self._client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=0,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        return record_of(messages[0]) if messages else None

    def done(self, record: Record) -> None:
        self._client.delete_message(QueueUrl=self._queue_url, ReceiptHandle=record["receiptHandle"])


def record_of(message: Any) -> Record:
    """A received message as a Lambda event record, without eventSourceARN and region: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: {
                "stringValue": attribute.get("StringValue"),
                "dataType": attribute["DataType"],
                "stringListValues": [],
                "binaryListValues": [],
            }
            for name, attribute in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
    }
