"""The doorbell on SQS: the body is the job id and nothing else."""

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from crewrelay.aws.clients import unavailable_if_it_fails

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_LONGEST = timedelta(minutes=15)  # the longest delay that SQS allows


class SqsDoorbell:
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
