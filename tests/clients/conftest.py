"""Unmodified clients, in environments of their own, against the real stack. `make clients` runs them."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.clients import matrix
from tests.support.processes import listening
from tests.support.stack import RunningStack, running_stack

Ran = Callable[[str, str, str], None]
_KEY = pytest.StashKey[list[matrix.Row]]()


@pytest.fixture
def ran(request: pytest.FixtureRequest) -> Ran:
    """Tells the table of clients that this client, of this version, did this."""
    rows = request.config.stash.setdefault(_KEY, [])
    return lambda client, version, what: rows.append(matrix.Row(client, version, what))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == 0 and os.environ.get("CLIENTS_TABLE"):
        rows = session.config.stash.get(_KEY, None)
        matrix.write(rows or [])


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """The default stack, which asks for a token."""
    with running_stack(1, "--auth") as stack:
        yield stack


@pytest.fixture(scope="session")
def models() -> Iterator[int]:
    """The port of a server for the models of all tests."""
    with listening("tests.support.doubles.model_server") as port:
        yield port
