"""The functions' own handlers in this process, each over clients whose requests may be given a fate."""

import importlib
import sys
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.aws import clients
from crewrelay.jobs.job import Job
from crewrelay.local.event_sources import Context
from crewrelay.wiring.crews import crew_runner
from tests.faults.bench import Bench
from tests.faults.injection import Faults

REQUEST = {"topic": "neural networks", "language": "en"}


class Functions:
    """Imported anew for each test, as in a new execution environment: their settings and clients are the bench's."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in bench.environment.items():
            monkeypatch.setenv(name, value)
        for client in (clients.dynamodb, clients.sqs, clients.s3):
            if client.cache_info().currsize:  # that of an earlier test
                client().close()
            client.cache_clear()
        crew_runner.cache_clear()
        self.table = Faults(clients.dynamodb())
        self.queue = Faults(clients.sqs())
        self._sweeper = _new("sweeper.handler").handler
        self.worker = _new("worker.handler")
        self.http = TestClient(_new("api.handler").app)
        self.inline = TestClient(_new("run.handler").app)

    def post(self, key: str | None = None, topic: str = REQUEST["topic"]) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return self.http.post("/crewai/run/async", json=REQUEST | {"topic": topic}, headers=headers)

    def deliver(self, *bodies: str | Job, seconds: float = 900) -> list[str]:
        """One batch to the worker, which has so many seconds for it; the messages that failed."""
        records = [
            {"messageId": str(number), "eventSource": "aws:sqs", "body": body.id if isinstance(body, Job) else body}
            for number, body in enumerate(bodies)
        ]
        answer = self.worker.handler({"Records": records}, Context("worker", seconds))
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def sweep(self) -> dict[str, int]:
        swept: dict[str, int] = self._sweeper({"source": "aws.events"}, Context("sweeper", 60))
        return swept


def _new(handler: str) -> Any:
    sys.modules.pop(handler, None)
    return importlib.import_module(handler)
