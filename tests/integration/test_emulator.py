"""The AWS emulator: whom it answers, and that it answers one request about a table after the other."""

import base64
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import pytest
from botocore import auth
from botocore.config import Config
from botocore.exceptions import ClientError

from crewrelay.local.credentials import REGION, Credentials
from tests.support.aws import TESTS, aws_client, emulator_of_tests
from tests.support.waiting import wait_until

KEYWORDS: Any = {name.lower(): value for name, value in TESTS.variables.items()}
ASKED: dict[str, Callable[[Any], Any]] = {
    "dynamodb": lambda client: client.list_tables(),
    "sqs": lambda client: client.list_queues(),
    "s3": lambda client: client.list_buckets(),
    "cloudformation": lambda client: client.describe_stacks(),
    "secretsmanager": lambda client: client.list_secrets(),
}


@pytest.mark.parametrize("service", ASKED)
def test_what_is_signed_with_its_credentials_is_answered(emulator: str, service: str) -> None:
    with closing(aws_client(service, emulator)) as client:
        assert ASKED[service](client)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_every_header_that_is_signed_counts(emulator: str) -> None:
    with closing(aws_client("s3", emulator)) as client:
        client.create_bucket(Bucket="encoded")
        client.put_object(Bucket="encoded", Key="a", Body=b"x", ContentType="text/plain", ContentEncoding="gzip")
        assert client.head_object(Bucket="encoded", Key="a")["ContentEncoding"] == "gzip"


@pytest.mark.parametrize("others", [Credentials("local", "test"), Credentials("test", "guessed")])
@pytest.mark.parametrize("service", ASKED)
def test_what_is_signed_with_others_is_refused_in_the_services_own_form(
    emulator: str, service: str, others: Credentials
) -> None:
    with closing(aws_client(service, emulator, others)) as client, pytest.raises(ClientError) as refused:
        ASKED[service](client)
    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"
    assert "credentials of this stack" in str(refused.value)


@pytest.mark.parametrize(
    "authorization", ["", "nonsense", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request"]
)
def test_what_is_not_signed_is_refused(emulator: str, authorization: str) -> None:
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
    answer = httpx.post(emulator, content="{}", headers={**headers, "Authorization": authorization})
    assert (answer.status_code, answer.json()["__type"]) == (403, "UnrecognizedClientException")


KEYS = ("answer.json", "a b/c+d/é~.json")

Presigned = Callable[..., str]


@pytest.fixture
def presigned(emulator: str) -> Iterator[Presigned]:
    """Makes URLs of objects, as the store does."""
    config = Config(signature_version="s3v4")
    with closing(boto3.client("s3", endpoint_url=emulator, region_name=REGION, config=config, **KEYWORDS)) as s3:
        s3.create_bucket(Bucket="answers")
        for key in KEYS:
            s3.put_object(Bucket="answers", Key=key, Body=b"{}")

        def url(key: str = KEYS[0], bucket: str = "answers", seconds: int = 60) -> str:
            return s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=seconds)

        yield url


def test_a_presigned_url_is_good_for_as_long_as_it_says(presigned: Presigned) -> None:
    url = presigned(seconds=3)
    assert httpx.get(url).status_code == 200
    wait_until(lambda: httpx.get(url).status_code == 403, within=10)


def test_a_signature_of_another_day_is_refused(emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(aws_client("dynamodb", emulator)) as client:
        monkeypatch.setattr(auth, "get_current_datetime", lambda: datetime.now(UTC) - timedelta(days=1))
        with pytest.raises(ClientError, match="expired"):
            client.list_tables()


@pytest.mark.parametrize("key", KEYS)
def test_a_presigned_url_works_from_curl(presigned: Presigned, key: str) -> None:
    done = subprocess.run(["curl", "--silent", "--fail", presigned(key)], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"{}")


def test_a_presigned_url_opens_nothing_else(presigned: Presigned, emulator: str) -> None:
    url = presigned()
    for other in (url.replace(KEYS[0], ""), url.replace("answers/answer.json", ""), url.replace("=60", "=61")):
        assert other != url
        assert httpx.get(other).status_code == 403
    for method in ("PUT", "DELETE"):
        assert httpx.request(method, url).status_code == 403
    assert httpx.get(url).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
        {"Host": "evil.test"},
        {"Host": "127.0.0.1.evil.test"},
        {"Host": "localhost.evil.test:80"},
        {"Host": "10.0.0.1"},
        {"Host": "[::ffff:10.0.0.1]"},
        {"Host": "["},
        {"Host": ""},
    ],
    ids=str,
)
def test_a_page_is_refused_whatever_it_knows(presigned: Presigned, headers: dict[str, str]) -> None:
    assert httpx.get(presigned(), headers=headers).status_code == 403


def test_what_is_behind_the_emulator_is_not_reached(presigned: Presigned) -> None:
    """Where moto shows everything that it holds, and wipes it."""
    assert httpx.get(presigned("data.json", "moto-api")).status_code == 403


def test_rows_are_not_read_while_they_are_written(deployed: dict[str, Any]) -> None:
    """A row comes into the sparse index and leaves it: a query finds it there, or it doesn't."""
    once = Config(retries={"total_max_attempts": 1}, max_pool_connections=16)
    with (
        emulator_of_tests("tests.support.doubles.restless_emulator") as url,
        closing(boto3.client("dynamodb", REGION, endpoint_url=url, config=once, **KEYWORDS)) as client,
    ):
        table = deployed["Resources"]["JobsTable"]["Properties"]
        parts = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
        client.create_table(TableName="rows", **{part: table[part] for part in parts})
        for number in range(8):
            client.put_item(TableName="rows", Item=row(number))

        def write(number: int) -> None:
            while not over.is_set():
                for change in (LEAVE, COME):
                    client.update_item(TableName="rows", Key=row(number, "pk", "sk"), **change)

        def read() -> set[int]:
            try:
                return {client.query(TableName="rows", **THE_DUE)["Count"] for _ in range(30)}
            finally:
                over.set()

        over = threading.Event()
        with ThreadPoolExecutor(8) as pool:
            writing = [pool.submit(write, number) for number in range(4)]
            reading = [pool.submit(read) for _ in range(4)]
            for written in writing:
                written.result()
            found = set.union(*(read.result() for read in reading))
    assert found <= set(range(4, 9))


THE_DUE: Any = {
    "IndexName": "due",
    "KeyConditionExpression": "due_shard = :shard",
    "ExpressionAttributeValues": {":shard": {"S": "DUE#0"}},
}
LEAVE: Any = {"UpdateExpression": "REMOVE due_shard, due_at"}
COME: Any = {
    "UpdateExpression": "SET due_shard = :shard, due_at = :at",
    "ExpressionAttributeValues": {":shard": {"S": "DUE#0"}, ":at": {"N": "1"}},
}


def row(number: int, *names: str) -> dict[str, Any]:
    more = {f"attribute{index}": {"S": "x"} for index in range(20)}
    item: dict[str, Any] = {"pk": {"S": f"{number}"}, "sk": {"S": "JOB"}, "due_shard": {"S": "DUE#0"}}
    item |= {"due_at": {"N": "1"}, **more}
    return {name: item[name] for name in names or item}


# ---- forms that send files


@pytest.fixture
def form(emulator: str) -> Iterator[dict[str, Any]]:
    s3 = aws_client("s3", emulator)
    bucket = f"forms-{uuid.uuid4()}"
    s3.create_bucket(Bucket=bucket)
    yield s3.generate_presigned_post(bucket, "a/file", Conditions=[["content-length-range", 1, 10]], ExpiresIn=60)
    s3.close()


def sent(form: dict[str, Any], content: bytes = b"content", /, **changes: str) -> int:
    fields = form["fields"] | changes
    return httpx.post(form["url"], data=fields, files={"file": content}, trust_env=False).status_code


def test_a_presigned_form_takes_one_file_within_its_limits(form: dict[str, Any]) -> None:
    assert sent(form) == 204
    assert sent(form, b"x" * 10) == 204
    assert sent(form, b"x" * 11) == 403
    assert sent(form, b"") == 403
    assert sent(form, key="another/file") == 403
    assert sent(form | {"url": form["url"].rstrip("/") + "-of-others"}) == 403
    assert sent(form | {"fields": form["fields"] | {"x-amz-signature": "0" * 64}}) == 403
    assert (
        sent(form, policy=base64.b64encode(b'{"expiration": "2999-01-01T00:00:00Z", "conditions": []}').decode()) == 403
    )
    assert sent({"url": form["url"], "fields": {"key": "a/file"}}) == 403
