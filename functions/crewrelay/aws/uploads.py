"""Files of batches in S3: uploads/<batch id>.jsonl, sent there by a presigned form, whose policy limits the size.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from crewrelay.aws.clients import error_code, unavailable_if_it_fails
from crewrelay.aws.queue import SqsQueue
from crewrelay.jobs.errors import InvalidUpload
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.batch import LARGEST_FILE, Batch, UploadedFile, UploadForm

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_GONE = ("NoSuchKey", "404", "PreconditionFailed", "412", "InvalidRange", "416")


class S3Uploads:
    """`client` is created on first use."""

    def __init__(self, client: "Callable[[], S3Client]", bucket: str, clock: Clock) -> None:
        self._client = client
        self._bucket = bucket
        self._clock = clock

    def form(self, batch: Batch) -> UploadForm | None:
        """Valid until the file must have come."""
        assert batch.upload
        made = self._client().generate_presigned_post(
            Bucket=self._bucket,
            Key=_name_of(batch),
            Conditions=[["content-length-range", 1, LARGEST_FILE]],
            ExpiresIn=max(1, int((batch.upload.until - self._clock()).total_seconds())),
        )
        return UploadForm(made["url"], made["fields"])

    def receive(self) -> None:
        return None

    def find(self, batch: Batch) -> UploadedFile | None:
        with unavailable_if_it_fails("bucket"):
            try:
                found = self._client().head_object(Bucket=self._bucket, Key=_name_of(batch))
            except ClientError as error:
                if error_code(error) not in _GONE:
                    raise
                return None
        return UploadedFile(found["ContentLength"], found["ETag"])

    def read(self, batch: Batch, offset: int, length: int) -> bytes:
        assert batch.upload
        with unavailable_if_it_fails("bucket"):
            try:
                found = self._client().get_object(
                    Bucket=self._bucket,
                    Key=_name_of(batch),
                    Range=f"bytes={offset}-{offset + length - 1}",
                    IfMatch=batch.upload.version,
                )
                return found["Body"].read()
            except ClientError as error:
                if error_code(error) not in _GONE:
                    raise
                raise InvalidUpload("The file was replaced or deleted while it was read.") from error

    def delete(self, batch: Batch) -> None:
        with unavailable_if_it_fails("bucket"):
            self._client().delete_object(Bucket=self._bucket, Key=_name_of(batch))


class UploadBells:
    """Rings for batches, by messages in the intake queue."""

    def __init__(self, queue: SqsQueue) -> None:
        self._queue = queue

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None:
        self._queue.ring(json.dumps({"upload": job_id}), delay)

    def waiting(self) -> int:
        return self._queue.waiting()


def _name_of(batch: Batch) -> str:
    return f"uploads/{batch.id}.jsonl"
