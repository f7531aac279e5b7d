"""What a bench asks of an engine. The proofs run on each of them: on_sqlite.py, on_aws.py."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import pytest

from crewrelay.jobs.ports import Clock, JobStore
from crewrelay.wiring.jobs import JobQueue
from tests.faults.injection import Faults
from tests.faults.transitions import Transition

LONG_FORM = os.environ.get("FAULTS") == "long"
# What is about the one engine; and what is about neither, on that which takes less time.
ONLY_AWS = pytest.mark.parametrize("engine", ["aws"], indirect=True)
ONLY_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
# A rule of the domain, whose writes the stores' contract holds both engines to: in the short form it is shown on one.
BOTH = ["sqlite", "aws"]
AWS_AT_LEAST = pytest.mark.parametrize("engine", BOTH if LONG_FORM else ["aws"], indirect=True)
SQLITE_AT_LEAST = pytest.mark.parametrize("engine", BOTH if LONG_FORM else ["sqlite"], indirect=True)


class Dead(NamedTuple):
    """A message that was refused, and why."""

    body: str
    code: str


class Engine(Protocol):
    """`variables` lead functions to it. `tries` is how often a write is tried before its caller is told that it failed.
    `doorbell` and `store` are clients of the test's own, which no fault meets.
    """

    name: str
    variables: Mapping[str, str]
    tries: int

    @property
    def doorbell(self) -> JobQueue: ...

    def store(self, clock: Clock) -> JobStore: ...

    def job_ids(self) -> list[str]: ...

    def rows(self) -> list[Any]:
        """All that is stored of jobs, their bells aside."""

    def bells(self) -> list[str]:
        """The job ids of bells that wait, up to ten. They stay."""

    def count_bells(self) -> int:
        """Those that wait, and those that have been received and not deleted."""

    def dead_letters(self) -> list[Dead]: ...

    def transitions(self) -> dict[str, list[Transition]]:
        """Every write to a job that took effect, in order, by job id."""

    def renew_clients(self) -> None:
        """This process's functions get new ones, as in a new execution environment."""

    def close(self) -> None: ...


def put_into_functions(faults: Faults) -> None:
    """Into those of this process, on the engine that its environment names."""
    if os.environ.get("CREWRELAY_DATA"):
        from tests.faults import on_sqlite

        return on_sqlite.put_into_functions(faults)
    from tests.faults import on_aws

    on_aws.put_into_functions(faults)
