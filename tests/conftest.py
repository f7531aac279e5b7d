"""What tests of every tier share: an AWS emulator in its own process, fresh storage for each test, a hand-set clock."""

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.crews.environment import CREW_ENVIRONMENT
from tests.support.crews import OwnCrews
from tests.support.fixtures import Figure, HandSetClock, Storage
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from crewrelay.retrieval.reading.reader import Reader
    from tests.support.aws import AwsClients
    from tests.support.rehearsals import Rehearsals
    from tests.support.weaviate import WeaviateDouble


# As on the stack: before CrewAI is imported, or it asks the network.
os.environ.update(CREW_ENVIRONMENT, CREWAI_STORAGE_DIR=tempfile.mkdtemp(prefix="crewrelay-test-"))


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
def rehearsals() -> Iterator["Rehearsals"]:
    """Processes for `crewrelay crews check` that this test process has for itself."""
    from tests.support.rehearsals import Rehearsals

    with closing(Rehearsals()) as started:
        yield started


@pytest.fixture(scope="session")
def deployed() -> dict[str, Any]:
    """template.yaml, read once; not to be changed."""
    from crewrelay.local.resources import load_template

    return load_template(ROOT / "template.yaml")


@pytest.fixture(scope="session")
def aws_clients(emulator: str) -> Iterator["AwsClients"]:
    """Of DynamoDB, SQS, S3 and CloudFormation: a client takes longer to make than most requests."""
    from tests.support.aws import AwsClients

    with closing(AwsClients(emulator)) as clients:
        yield clients


@pytest.fixture
def storage(aws_clients: "AwsClients", deployed: dict[str, Any]) -> Storage:
    from crewrelay.local.resources import create_storage

    made = create_storage(aws_clients.get("cloudformation"), deployed, f"test-{uuid.uuid4()}")
    return Storage(
        aws_clients.get("dynamodb"),
        aws_clients.get("sqs"),
        aws_clients.get("s3"),
        made["JobsTable"],
        made["BodiesBucket"],
        made["JobQueue"],
        made["JobDeadLetterQueue"],
        made["IntakeQueue"],
        made["IntakeDeadLetterQueue"],
        made["NotifyQueue"],
        made["NotifyDeadLetterQueue"],
    )
