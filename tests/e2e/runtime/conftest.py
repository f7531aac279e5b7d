import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.runtime.artifacts import TREES, require
from tests.e2e.runtime.deployment import Deployment


@pytest.fixture(scope="session", autouse=True)
def built() -> Iterator[None]:
    """What is built, and left as it was: on Lambda's disk a write into it fails, here perhaps not."""
    require()
    before = _state()
    yield
    assert _state() == before


def _state() -> set[tuple[str, int, int]]:
    files = [os.path.join(folder, name) for tree in TREES for folder, _, names in os.walk(tree) for name in names]
    return {(path, status.st_size, status.st_mtime_ns) for path in files for status in [os.stat(path)]}


@pytest.fixture(scope="session")
def deployment(emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with ExitStack() as cleanup:
        yield Deployment(emulator, tmp_path_factory.mktemp("runtime"), cleanup)
