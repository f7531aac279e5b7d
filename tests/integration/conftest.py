"""Fixtures of several modules of this tier."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewrelay.http.edge import Handler, lambda_handler
from crewrelay.jobs.ports import JobStore
from crewrelay.local.resources import Template, load_template
from crewrelay.local.stack import TEMPLATE
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import api_app
from tests.support.template import OPERATIONS
from tests.support.type_adapters import share_type_adapters

share_type_adapters()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "jobs.db")


@pytest.fixture(params=["memory", "sqlite", "dynamo"])
def store(request: pytest.FixtureRequest, clock: HandSetClock) -> JobStore:
    """The tests' own, SQLite's, and DynamoDB's on an emulator: they promise the same."""
    if request.param == "memory":
        return MemoryJobStore(clock)
    if request.param == "sqlite":
        return SqliteJobStore(request.getfixturevalue("database"), clock)
    storage: Storage = request.getfixturevalue("storage")
    return storage.store(clock)


@pytest.fixture
def template() -> Template:
    """template.yaml, which a test may change."""
    return load_template(TEMPLATE)


@pytest.fixture
def operations() -> Template:
    return load_template(OPERATIONS)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a blocking crew waits for; opened at the end, so that no thread stays behind."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def main_loop() -> Iterator[None]:
    """An event loop on this thread, closed at the end: Mangum makes one where there is none, and leaves it open."""
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        yield


@pytest.fixture
def handler(storage: Storage, main_loop: None) -> Handler:
    """The API as a Lambda function."""
    return lambda_handler(api_app(storage))
