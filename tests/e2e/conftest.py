"""Stacks that tests share, for each takes seconds of CPU to start; `--dist loadfile` keeps those of a file together."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.e2e.stacks import LIMIT, ScriptedStack
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT, listening
from tests.support.stack import RunningStack, model_variables, running_stack

LONGEST = ("projects", "deadline", "commands", "readme", "restart", "one_machine", "schema", "auth")  # test_….py


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin first, so that none of them is left to the end."""
    items.sort(key=lambda item: LONGEST.index(name) if (name := item.path.stem[5:]) in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """The default stack: nothing set, the embedded model and corpus."""
    with running_stack(2) as stack:
        yield stack


@pytest.fixture(scope="session")
def stack_on_aws() -> Iterator[RunningStack]:
    """The same on DynamoDB, SQS and S3, in an emulator."""
    with running_stack(2, "--aws") as stack:
        yield stack


@pytest.fixture(scope="session")
def models() -> Iterator[int]:
    """The port of a server for the models of all tests."""
    with listening("tests.support.doubles.model_server") as port:
        yield port


@pytest.fixture(scope="session")
def scripted(models: int) -> Iterator[ScriptedStack]:
    """Its model wants no key, and is sent none of ours."""
    with closing(ScriptedModel(models)) as model:
        variables = dict(model_variables(model))
        del variables["CREWRELAY_MODEL_API_KEY"]
        with running_stack(1, "--aws", **variables) as stack:
            yield ScriptedStack(stack, model)


@pytest.fixture(scope="session")
def hasty(models: int) -> Iterator[ScriptedStack]:
    """Its gateway and its leases are short."""
    yield from hasty_stack(models)


@pytest.fixture(scope="session")
def hasty_on_aws(models: int) -> Iterator[ScriptedStack]:
    yield from hasty_stack(models, "--aws")


def hasty_stack(models: int, *arguments: str) -> Iterator[ScriptedStack]:
    short = {
        "CREWRELAY_GATEWAY_LIMIT": str(LIMIT),
        "CREWRELAY_GATEWAY_MARGIN": "2",
        "CREWRELAY_LEASE_SECONDS": "2",
        "CREWRELAY_MODEL_PRICES": os.path.relpath(ROOT / "functions/crewrelay/prices.yaml"),  # as one types a path
    }
    with (
        closing(ScriptedModel(models)) as model,
        running_stack(1, *arguments, **model_variables(model), **short) as stack,
    ):
        yield ScriptedStack(stack, model)
