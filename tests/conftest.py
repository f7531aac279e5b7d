"""What tests of every tier share: an AWS emulator in its own process, fresh storage for each test, a hand-set clock."""

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from crewrelay.aws.bodies import Bodies
from crewrelay.aws.store import DynamoJobStore
from crewrelay.catalogue.catalogue import catalogue
from crewrelay.jobs.ports import Clock
from crewrelay.local.stack import CREW_ENVIRONMENT
from tests.support.crews import OwnCrews
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from crewrelay.retrieval.reading.reader import Reader
    from tests.support.weaviate import WeaviateDouble


# As on the stack: before CrewAI is imported, or it asks the network.
os.environ.update(CREW_ENVIRONMENT, CREWAI_STORAGE_DIR=tempfile.mkdtemp(prefix="crewrelay-test-"))


Figure = Callable[[str], None]


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Takes a measured figure, to be printed at the end of the run."""
    return lambda text: record_property("figure", text)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    figures = [value for report in reports for name, value in report.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for text in figures:
            terminalreporter.line(text)


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

    def is_as_new(self) -> bool:
        if "StreamSpecification" in self.dynamodb.describe_table(TableName=self.table)["Table"]:
            return False
        queues = (self.queue_url, self.dlq_url, self.intake_queue_url, self.intake_dlq_url)
        told = [self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in queues]
        waiting = {value for said in told for name, value in said.items() if "NumberOfMessages" in name}
        return waiting == {"0"} and not self.rows() and not self.s3.list_objects_v2(Bucket=self.bucket)["KeyCount"]


@pytest.fixture
def clock() -> HandSetClock:
    return HandSetClock()


@pytest.fixture
def own_crews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnCrews]:
    """A folder of crews that this process finds."""
    crews = OwnCrews(tmp_path / "crews")
    monkeypatch.setenv("CREWRELAY_CREWS", str(crews.folder))
    catalogue.cache_clear()
    yield crews
    catalogue.cache_clear()


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """The URL of an AWS emulator that this test process has for itself."""
    from tests.support.aws import emulator_of_tests

    with emulator_of_tests() as url:
        yield url


@pytest.fixture(scope="session")
def weaviate() -> Iterator["WeaviateDouble"]:
    """A double of Weaviate that this test process has for itself."""
    from tests.support.weaviate import weaviate_double

    with weaviate_double() as double:
        yield double


@pytest.fixture(scope="session")
def reader() -> Iterator["Reader"]:
    """A process that reads documents, which this test process has for itself."""
    from crewrelay.retrieval.reading.reader import Reader

    with Reader() as started:
        yield started


@pytest.fixture(scope="session")
def deployed() -> dict[str, Any]:
    """template.yaml, read once; not to be changed."""
    from crewrelay.local.resources import load_template

    return load_template(ROOT / "template.yaml")


@pytest.fixture(scope="session")
def unused() -> list[dict[str, str]]:
    """Storage in which a test left nothing: making it anew takes longer than most tests."""
    return []


@pytest.fixture
def storage(emulator: str, deployed: dict[str, Any], unused: list[dict[str, str]]) -> Iterator[Storage]:
    from crewrelay.local.resources import create_storage
    from tests.support.aws import aws_client

    clients = [aws_client(service, emulator) for service in ("cloudformation", "dynamodb", "sqs", "s3")]
    cloudformation, dynamodb, sqs, s3 = clients
    made = unused.pop() if unused else create_storage(cloudformation, deployed, f"test-{uuid.uuid4()}")
    fresh = Storage(
        dynamodb,
        sqs,
        s3,
        made["JobsTable"],
        made["BodiesBucket"],
        made["JobQueue"],
        made["JobDeadLetterQueue"],
        made["IntakeQueue"],
        made["IntakeDeadLetterQueue"],
    )
    yield fresh
    if fresh.is_as_new():
        unused.append(made)
    for client in clients:  # each keeps a connection
        client.close()
