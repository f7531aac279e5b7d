"""Fixtures of several modules of this tier."""

import pytest

from crewrelay.jobs.ports import JobStore
from crewrelay.local.resources import Template, load_template
from crewrelay.local.stack import TEMPLATE
from crewrelay.testing import MemoryJobStore
from tests.conftest import HandSetClock, Storage
from tests.support.template import OPERATIONS


@pytest.fixture(params=["memory", "dynamo"])
def store(request: pytest.FixtureRequest, clock: HandSetClock) -> JobStore:
    """The tests' own, and DynamoDB's on an emulator: they promise the same."""
    if request.param == "memory":
        return MemoryJobStore(clock)
    storage: Storage = request.getfixturevalue("storage")
    return storage.store(clock)


@pytest.fixture
def template() -> Template:
    """template.yaml, which a test may change."""
    return load_template(TEMPLATE)


@pytest.fixture
def operations() -> Template:
    return load_template(OPERATIONS)
