from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from crewrelay.jobs.records.policy import Policy
from tests.faults.bench import Bench, NewBench, Nursery, nursery
from tests.faults.engines import BOTH, Engine
from tests.faults.on_aws import OnAws
from tests.faults.on_sqlite import OnSqlite
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


@pytest.fixture(params=BOTH)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each of them in turn, unless a test asks for one; see ONLY_AWS and ONLY_SQLITE in engines.py."""
    fresh: Engine
    if request.param == "sqlite":
        fresh = OnSqlite(tmp_path / "data")
    else:
        fresh = OnAws(request.getfixturevalue("storage"), request.getfixturevalue("emulator"))
    with closing(fresh):
        yield fresh


@pytest.fixture
def new_bench(engine: Engine, processes: Nursery, models: int) -> Iterator[NewBench]:
    """Makes the test's bench, given the script of its model, its policy, and further settings."""
    with ExitStack() as cleanup:

        def make(*script: str, policy: Policy = SHIPPED, **settings: str) -> Bench:
            model = cleanup.enter_context(closing(ScriptedModel(models, *script)))
            bench = Bench(engine, model, processes, policy, **settings)
            cleanup.callback(bench.end)
            return bench

        yield make
