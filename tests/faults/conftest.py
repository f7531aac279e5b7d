from collections.abc import Iterator

import pytest

from tests.faults.bench import Nursery, nursery


@pytest.fixture(scope="session")
def processes() -> Iterator[Nursery]:
    with nursery() as started:
        yield started
