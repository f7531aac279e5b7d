"""A function's own handler in a process of its own, which keeps what it asks of AWS.

python -m tests.support.deployed FUNCTION LARGEST_IN_ROW: reads an event a line, writes the answers, and at the end
the operations: [module of crewrelay.aws, service, operation, parameters].
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.processes import ROOT

_ADAPTERS = ROOT / "functions/crewrelay/aws"


class Operation(NamedTuple):
    """One request to AWS, and which module of crewrelay.aws made it."""

    module: str
    service: str
    name: str
    parameters: dict[str, Any]


class Deployed:
    """`largest_in_row`: bytes above which a body goes to S3."""

    def __init__(self, function: str, environment: Mapping[str, str], largest_in_row: int = 256 * 1024) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.deployed", function, str(largest_in_row)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, event: dict[str, Any], seconds: float = 900) -> Any:
        """Its answer; it has so many seconds for it."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([event, seconds]) + "\n")
        self._process.stdin.flush()
        return self._line()

    def end(self) -> list[Operation]:
        """What it asked of AWS."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            return [Operation(*each) for each in self._line()]
        finally:
            self._process.stdout.close()
            self._process.wait(10)

    def _line(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"it ended with {self._process.poll()}; what it said stands above"
        return json.loads(line)


def _main(function: str, largest_in_row: str) -> None:
    import boto3

    from crewrelay.aws import bodies
    from crewrelay.local.event_sources import Context

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # logs
    operations: list[Operation] = []

    def keep(params: dict[str, Any], model: Any, **_: Any) -> None:
        service = model.service_model.service_id.hyphenize()
        known = {name: params[name] for name in _TELLING & params.keys()}
        operations.append(Operation(_module(), service, model.name, known))

    boto3.setup_default_session()
    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register("before-parameter-build", keep)
    bodies._LARGEST_IN_ROW = int(largest_in_row)
    handler = importlib.import_module(f"{function}.handler").handler
    for line in sys.stdin:
        event, seconds = json.loads(line)
        print(json.dumps(handler(event, Context(function, seconds))), file=answers, flush=True)
    print(json.dumps(operations, default=str), file=answers, flush=True)


_TELLING = {"TableName", "IndexName", "RequestItems", "QueueUrl", "Bucket", "Prefix", "SecretId"}
_TELLING |= {"Key", "Item", "KeyConditionExpression", "ExpressionAttributeValues"}  # which rows, which object


def _module() -> str:
    """The module of crewrelay.aws that is asking."""
    frame = sys._getframe()
    while Path(frame.f_code.co_filename).parent != _ADAPTERS or frame.f_code.co_filename.endswith("clients.py"):
        assert frame.f_back, "AWS was asked by none of crewrelay.aws"
        frame = frame.f_back
    return Path(frame.f_code.co_filename).stem


if __name__ == "__main__":
    _main(*sys.argv[1:])
