"""What the fixtures of tests/conftest.py give."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from crewrelay.aws.bodies import Bodies
from crewrelay.aws.store import DynamoJobStore
from crewrelay.jobs.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient


Figure = Callable[[str], None]


class HandSetClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **duration: float) -> None:
        self.now += timedelta(**duration)


class Storage(NamedTuple):
    """A fresh table, bucket and queues, made from template.yaml, and clients for them."""

    dynamodb: "DynamoDBClient"
    sqs: "SQSClient"
    s3: "S3Client"
    table: str
    bucket: str
    queue_url: str
    dlq_url: str
    intake_queue_url: str
    intake_dlq_url: str
    notify_queue_url: str
    notify_dlq_url: str

    def store(self, clock: Clock) -> DynamoJobStore:
        return DynamoJobStore(self.dynamodb, self.table, clock, Bodies(lambda: self.s3, self.bucket))

    def rows(self) -> list[dict[str, Any]]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.table)
        return [dict(item) for page in pages for item in page["Items"]]

    def messages(self, queue_url: str) -> list[Any]:
        return list(
            self.sqs.receive_message(
                QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
            ).get("Messages", [])
        )
