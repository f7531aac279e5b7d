"""What template.yaml describes, as built, on one machine: its functions in AWS's runtime, the rest in an emulator."""

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from crewrelay.aws.tokens import DynamoTokens
from crewrelay.jobs.access import Scope, issue
from crewrelay.local.resources import create_storage
from crewrelay.system import utcnow
from tests.e2e.runtime import events
from tests.e2e.runtime.artifacts import FUNCTIONS, TEMPLATE
from tests.e2e.runtime.slot import Slot, lay_out_runtime, slot
from tests.support.aws import aws_client

TENANT = "local"  # whose the jobs of the intake queue are, where nothing else is set


class Deployment:
    """The built functions, each started when it is first asked for, with queues and a table in an emulator of AWS."""

    def __init__(self, emulator: str, folder: Path, cleanup: ExitStack) -> None:
        self.storage = create_storage(aws_client("cloudformation", emulator), TEMPLATE, "runtime")
        self._sqs = aws_client("sqs", emulator)
        tokens = DynamoTokens(aws_client("dynamodb", emulator), self.storage["JobsTable"], utcnow)
        expiry = utcnow() + timedelta(hours=1)
        self.token, _ = issue(tokens, TENANT, frozenset(Scope), utcnow(), expiry, os.urandom)
        self._emulator = emulator
        self._folder = folder
        self._runtime = lay_out_runtime(folder / "runtime")
        self._cleanup = cleanup
        self._slots: dict[str, Slot] = {}

    def slot(self, name: str, variables: Mapping[str, str] = {}, timeout: int | None = None) -> Slot:
        """A function by the template's name. A further slot of one is told apart by its variables and its timeout."""
        function = FUNCTIONS[name]
        told_apart = f"{name} {variables} {timeout}"
        if told_apart not in self._slots:
            env = {"AWS_ENDPOINT_URL": self._emulator, **function.variables(self.storage), **variables}
            log = self._folder / f"{len(self._slots)}-{name}.log"
            self._slots[told_apart] = self._cleanup.enter_context(slot(function, self._runtime, log, env, timeout))
        return self._slots[told_apart]

    def invoke(self, name: str, event: Any) -> Any:
        return self.slot(name).invoke(event)

    @cached_property
    def _caller(self) -> dict[str, str]:
        """What the authorizer says of the token: the gateway keeps it for a minute, and hands it on."""
        context: dict[str, str] = self.invoke("AuthorizerFunction", events.authorization(f"Bearer {self.token}"))[
            "context"
        ]
        return context

    def rest(self, method: str, path: str, body: str | dict[str, Any] = "", **headers: str) -> events.Event:
        """The event of a request with a token."""
        event = events.rest(method, path, body, **headers)
        event["requestContext"]["authorizer"] = self._caller
        return event

    def take(self, queue: str) -> list[str]:
        """The bodies of the messages that wait in a queue by the template's name; taken for good."""
        url = self.storage[queue]
        messages = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in messages]

    def status(self, job_id: str) -> dict[str, Any]:
        return answered(self.invoke("ApiFunction", self.rest("GET", f"/crewai/status/{job_id}")), 200)


def answered(answer: dict[str, Any], code: int) -> dict[str, Any]:
    """The body of an answer to API Gateway."""
    assert answer.get("statusCode") == code, answer
    body: dict[str, Any] = json.loads(answer["body"])
    return body
