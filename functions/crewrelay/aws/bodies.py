"""Bodies: inline when small, else in S3 by content hash."""

import gzip
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from crewrelay.aws.clients import error_code, unavailable_if_it_fails
from crewrelay.jobs.errors import DamagedJob
from crewrelay.jobs.records.answer import FILE_TYPE, File

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LARGEST_IN_ROW = 256 * 1024  # bytes, compressed; DynamoDB's limit is 400 KB with names and keys
LARGEST_ANSWER = 1_000_000  # bytes of JSON: its text is twice in an HTTP answer, and Lambda passes on 6 MB of ASCII
_URL_LIFE = 3600  # seconds
_LEVEL = 6  # of gzip; 9, its default, saves 1 % more and may take twelve times as long

Values = dict[str, Any]


def _name_of(job_id: str, file: File) -> str:
    return f"{_folder(job_id)}files/{file.digest}"


class Bodies:
    """`client` is created on first use: most functions never touch a large body."""

    def __init__(self, client: "Callable[[], S3Client]", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, job_id: str, body: str) -> Values:
        """The attributes of a row that hold the body, or refer to it after it was put into S3."""
        data = body.encode()
        compressed = gzip.compress(data, _LEVEL, mtime=0)
        if len(compressed) <= _LARGEST_IN_ROW and len(data) <= LARGEST_ANSWER:
            return {"body": compressed}
        name = f"{_folder(job_id)}{hashlib.sha256(data).hexdigest()}.json"
        with unavailable_if_it_fails("bucket"):
            self._client().put_object(
                Bucket=self._bucket,
                Key=name,
                Body=compressed,
                ContentType="application/json",
                ContentEncoding="gzip",
            )
        return {"object": name, "size": len(data)}

    def read(self, row: Values) -> str:
        """The body that a row's values hold or refer to. Raises DamagedJob if the object is gone."""
        if "body" in row:
            return gzip.decompress(bytes(row["body"])).decode()
        with unavailable_if_it_fails("bucket"):
            try:
                content = self._client().get_object(Bucket=self._bucket, Key=row["object"])["Body"].read()
            except ClientError as error:
                if error_code(error) != "NoSuchKey":
                    raise
                raise DamagedJob(f"The bucket no longer has {row['object']}.") from error
        return gzip.decompress(content).decode()

    def delete(self, job_id: str) -> None:
        """All objects of a job, also those that no row refers to."""
        with unavailable_if_it_fails("bucket"):
            pages = (
                self._client().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=_folder(job_id))
            )
            for name in [found["Key"] for page in pages for found in page.get("Contents", [])]:
                self._client().delete_object(Bucket=self._bucket, Key=name)

    def put_file(self, job_id: str, file: File) -> None:
        with unavailable_if_it_fails("bucket"):
            self._client().put_object(Bucket=self._bucket, Key=_name_of(job_id, file), Body=file.content)

    def url_of_file(self, job_id: str, file: File) -> str:
        """A presigned URL, valid for an hour."""
        return self._client().generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": _name_of(job_id, file),
                "ResponseContentType": FILE_TYPE,
                "ResponseContentDisposition": file.disposition,
            },
            ExpiresIn=_URL_LIFE,
        )

    def url_if_large(self, row: Values) -> str | None:
        """A presigned URL, valid for an hour, of a body too large for a response; else None."""
        if int(row.get("size", 0)) <= LARGEST_ANSWER:
            return None
        return self._client().generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": row["object"]}, ExpiresIn=_URL_LIFE
        )


def _folder(job_id: str) -> str:
    return f"jobs/{job_id}/"
