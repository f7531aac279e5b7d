"""Fixtures of several modules of this tier."""

import pytest

from tests.support.fixtures import HandSetClock
from tests.support.runs import Attempts


@pytest.fixture
def attempts(clock: HandSetClock) -> Attempts:
    """At one job, by the hand-set clock."""
    return Attempts(clock)
