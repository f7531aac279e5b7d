from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from crewrelay.jobs.policy import Policy
from tests.faults.bench import Bench, NewBench, Nursery, nursery
from tests.support.fixtures import Storage
from tests.support.models import ScriptedModel
from tests.support.processes import listening

SHIPPED = Policy()


@pytest.fixture(scope="session")
def processes() -> Iterator[Nursery]:
    with nursery() as started:
        yield started


@pytest.fixture(scope="session")
def models() -> Iterator[int]:
    """The port of a server for the models of all tests."""
    with listening("tests.support.doubles.model_server") as port:
        yield port


@pytest.fixture
def new_bench(storage: Storage, emulator: str, processes: Nursery, models: int) -> Iterator[NewBench]:
    """Makes the test's bench, given the script of its model, its policy, and further settings."""
    with ExitStack() as cleanup:

        def make(*script: str, policy: Policy = SHIPPED, **settings: str) -> Bench:
            model = cleanup.enter_context(closing(ScriptedModel(models, *script)))
            bench = Bench(storage, emulator, model, processes, policy, **settings)
            cleanup.callback(bench.end)
            return bench

        yield make
