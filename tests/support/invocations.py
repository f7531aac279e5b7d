"""The events of tests/events in the order of a job's life: which function each is for, and what it answers."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support.processes import ROOT

EVENTS = ROOT / "tests/events"


class Invocation(NamedTuple):
    """`read` finds in an answer what is `told`."""

    event: str
    function: str
    read: Callable[[Any], Any]
    told: Any


def _http(answer: Any) -> tuple[int, str]:
    return answer["statusCode"], json.loads(answer["body"])["status"]


def _failures(answer: Any) -> Any:
    return answer["batchItemFailures"]


LIFE = (
    Invocation("authorize", "AuthorizerFunction", lambda answer: answer["context"]["tenant"], "local"),
    Invocation("submit", "ApiFunction", _http, (202, "pending")),
    Invocation("job", "WorkerFunction", _failures, []),
    Invocation("status", "ApiFunction", _http, (200, "completed")),
    Invocation("run", "RunFunction", _http, (200, "completed")),
    Invocation("intake", "IntakeFunction", _failures, []),
    Invocation("schedule", "SweeperFunction", lambda answer: answer, {}),
)
JOBS = ["completed", "completed", "pending"]  # the last is the intake's, for which nobody has rung yet


def event(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return read


def jobs(dynamodb: Any, table: str) -> list[str]:
    """Their statuses, sorted."""
    items = dynamodb.scan(TableName=table)["Items"]
    return sorted(item["status"]["S"] for item in items if item["sk"]["S"] == "JOB")
