from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from crewrelay.jobs.policy import Policy
from tests.conftest import Storage
from tests.faults.bench import Bench, Model, Nursery, nursery
from tests.processes import listening

SHIPPED = Policy()
NewBench = Callable[..., Bench]


@pytest.fixture(scope="session")
def processes() -> Iterator[Nursery]:
    with nursery() as started:
        yield started


@pytest.fixture
def new_bench(storage: Storage, emulator: str, processes: Nursery) -> Iterator[NewBench]:
    """Makes the test's bench, given the options of its model server, its policy, and further settings."""
    with ExitStack() as cleanup:

        def make(*model: str, policy: Policy = SHIPPED, **settings: str) -> Bench:
            port = cleanup.enter_context(listening("tests.doubles.model_server", *model))
            bench = Bench(storage, emulator, Model(port), processes, policy, **settings)
            cleanup.callback(bench.end)
            return bench

        yield make
