from collections.abc import Iterator

import pytest

from tests.stack import RunningStack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """The default stack: nothing set, the embedded model and corpus."""
    with running_stack() as stack:
        yield stack
