"""Fixtures of several modules of this tier."""

import pytest

from crewrelay.jobs.ports import JobStore
from crewrelay.testing import MemoryJobStore
from tests.conftest import HandSetClock, Storage


@pytest.fixture(params=["memory", "dynamo"])
def store(request: pytest.FixtureRequest, clock: HandSetClock) -> JobStore:
    """The tests' own, and DynamoDB's on an emulator: they promise the same."""
    if request.param == "memory":
        return MemoryJobStore(clock)
    storage: Storage = request.getfixturevalue("storage")
    return storage.store(clock)
