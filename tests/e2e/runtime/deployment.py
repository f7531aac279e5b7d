"""What template.yaml describes, as built, on one machine: its functions in AWS's runtime, the rest in an emulator."""

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from crewrelay.aws.tokens import DynamoTokens
from crewrelay.jobs.access import Scope, issue
from crewrelay.local.resources import create_storage
from crewrelay.system import utcnow
from tests.aws import aws_client
from tests.e2e.runtime import events
from tests.e2e.runtime.artifacts import FUNCTIONS, TEMPLATE
from tests.e2e.runtime.events import CALLER
from tests.e2e.runtime.slot import Slot, lay_out_runtime, slot


class Deployment:
    """The built functions, each started when it is first asked for, with queues and a table in an emulator of AWS."""

    def __init__(self, emulator: str, folder: Path, cleanup: ExitStack) -> None:
        self.storage = create_storage(aws_client("cloudformation", emulator), TEMPLATE, "runtime")
        self._sqs = aws_client("sqs", emulator)
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

    def take(self, queue: str) -> list[str]:
        """The bodies of the messages that wait in a queue by the template's name; taken for good."""
        url = self.storage[queue]
        messages = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in messages]

    def token(self) -> str:
        """Of a tenant who may do everything."""
        dynamodb, now = aws_client("dynamodb", self._emulator), utcnow()
        tokens = DynamoTokens(dynamodb, self.storage["JobsTable"], utcnow)
        return issue(tokens, CALLER["tenant"], frozenset(Scope), now, now + timedelta(hours=1), os.urandom)[0]

    def status(self, job_id: str) -> dict[str, Any]:
        answer = self.invoke("ApiFunction", events.rest("GET", f"/crewai/status/{job_id}"))
        return answered(answer, 200)


def answered(answer: dict[str, Any], code: int) -> dict[str, Any]:
    """The body of an answer to API Gateway."""
    assert answer.get("statusCode") == code, answer
    body: dict[str, Any] = json.loads(answer["body"])
    return body
