"""A queue on SQS: the doorbell, whose message is the job id and nothing else, or the intake."""

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from crewrelay.aws.clients import unavailable_if_it_fails
from crewrelay.events.records import Record

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_LONGEST = timedelta(minutes=15)  # the longest delay that SQS allows


class SqsQueue:
    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None:
        with unavailable_if_it_fails("queue"):
            self._client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=job_id,
                DelaySeconds=math.ceil(
                    min(delay, _LONGEST).total_seconds()
                ),  # rounded up: an early bell would be dropped
            )

    def waiting(self) -> int:
        with unavailable_if_it_fails("queue"):
            found = self._client.get_queue_attributes(
                QueueUrl=self._queue_url, AttributeNames=["ApproximateNumberOfMessages"]
            )
        return int(found["Attributes"]["ApproximateNumberOfMessages"])

    def receive(self, most: int, wait: int = 0) -> list[Record]:
        with unavailable_if_it_fails("queue"):
            messages = self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=wait,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
        return [record_of(message) for message in messages]

    def delete(self, records: list[Record]) -> None:
        entries: Any = [
            {"Id": str(index), "ReceiptHandle": record["receiptHandle"]} for index, record in enumerate(records)
        ]
        with unavailable_if_it_fails("queue"):
            self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)


def record_of(message: Any) -> Record:
    """A received message as a Lambda event record, without eventSourceARN and region."""
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
