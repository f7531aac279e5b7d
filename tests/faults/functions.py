"""The functions' own handlers in this process, whose writes may be given a fate."""

import importlib
import sys
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.events.records import Record
from crewrelay.jobs.records.job import Job
from crewrelay.local.event_sources import Context
from crewrelay.wiring.crews import crew_runner
from tests.faults.bench import Bench
from tests.faults.engines import put_into_functions
from tests.faults.injection import Faults

REQUEST = {"topic": "neural networks", "language": "en"}


class Functions:
    """Imported anew for each test, as in a new execution environment: their settings and clients are the bench's."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in bench.environment.items():
            monkeypatch.setenv(name, value)
        bench.engine.renew_clients()
        crew_runner.cache_clear()
        self.faults = Faults()
        put_into_functions(self.faults)
        self._sweeper = _new("sweeper.handler").handler
        self.worker = _new("worker.handler")
        self.http = TestClient(_new("api.handler").app)
        self.inline = TestClient(_new("run.handler").app)

    def post(self, key: str | None = None, topic: str = REQUEST["topic"]) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return self.http.post("/crewai/run/async", json=REQUEST | {"topic": topic}, headers=headers)

    def deliver(self, *bodies: str | Job, seconds: float = 900) -> list[str]:
        """One batch to the worker, which has so many seconds for it; the messages that failed."""
        records: list[Record] = [
            {"messageId": str(number), "eventSource": "aws:sqs", "body": getattr(body, "id", body), "attributes": {}}
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
