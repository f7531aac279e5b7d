"""Stacks that tests share, for each takes seconds of CPU to start. `--dist loadgroup` keeps the files together that
share one, so that it is started once.
"""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.e2e.stacks import LIMIT, ORIGIN, ScriptedStack
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT, listening
from tests.support.stack import RunningStack, model_variables, running_stack

# test_….py, the longest first, so that none is left to the end.
GROUPS = (
    ("projects",),
    ("deadline", "webhooks", "commands", "models", "readme", "transcripts"),
    ("auth", "surroundings", "schema"),
    ("restart",),
    ("one_machine",),
)
ORDER = {name: number for number, name in enumerate(name for group in GROUPS for name in group)}


def file_of(item: pytest.Item) -> str:
    return item.path.stem.removeprefix("test_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    together = {name: group[0] for group in GROUPS for name in group}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(together.get(file_of(item), file_of(item))))
    items.sort(key=lambda item: ORDER.get(file_of(item), len(ORDER)))


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """The default stack: nothing set, the embedded model and corpus."""
    with running_stack(1) as stack:
        yield stack


@pytest.fixture(scope="session")
def guarded() -> Iterator[RunningStack]:
    """Its callers need a token, and its environment names a proxy, where nobody listens."""
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    with running_stack(1, "--auth", "--host", "127.0.0.2", CREWRELAY_CORS_ORIGIN=ORIGIN, **proxy) as stack:
        yield stack


@pytest.fixture(scope="session")
def models() -> Iterator[int]:
    """The port of a server for the models of all tests."""
    with listening("tests.support.doubles.model_server") as port:
        yield port


@pytest.fixture(scope="session")
def scripted(models: int) -> Iterator[ScriptedStack]:
    """On DynamoDB, SQS and S3, in an emulator. Its model wants no key, and is sent none of ours."""
    with closing(ScriptedModel(models)) as model:
        variables = model_variables(model) | {"CREWRELAY_LEASE_SECONDS": "2"}
        del variables["CREWRELAY_MODEL_API_KEY"]
        with running_stack(1, "--aws", **variables) as stack:
            yield ScriptedStack(stack, model)


@pytest.fixture(scope="session")
def hasty(models: int) -> Iterator[ScriptedStack]:
    """Its gateway and its leases are short."""
    short = {
        "CREWRELAY_GATEWAY_LIMIT": str(LIMIT),
        "CREWRELAY_GATEWAY_MARGIN": "2",
        "CREWRELAY_LEASE_SECONDS": "2",
        "CREWRELAY_MODEL_PRICES": os.path.relpath(ROOT / "functions/crewrelay/prices.yaml"),  # as one types a path
    }
    with (
        closing(ScriptedModel(models)) as model,
        running_stack(1, **model_variables(model), **short) as stack,
    ):
        yield ScriptedStack(stack, model)
