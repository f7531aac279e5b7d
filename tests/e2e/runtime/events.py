"""Events as AWS sends them, made by `sam local generate-event`, with what differs from one to the next filled in."""

import base64
import hashlib
import json
import os
import subprocess
import time
from functools import cache
from typing import Any

from tests.support.processes import ROOT

Event = dict[str, Any]


def _generated(*kind: str) -> Event:
    event: Event = json.loads(_text(*kind))
    return event


@cache
def _text(*kind: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "SAM_CLI_TELEMETRY": "0"}
    command = [str(ROOT / ".venv-sam/bin/sam"), "local", "generate-event", *kind]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def rest(method: str, path: str, body: str | dict[str, Any] = "", **headers: str) -> Event:
    """What a REST API's stage `prod` got this moment, its body in base64."""
    text = body if isinstance(body, str) else json.dumps(body)
    event = _generated("apigateway", "aws-proxy")
    event |= {"httpMethod": method, "path": path, "body": base64.b64encode(text.encode()).decode()}
    event |= {"pathParameters": {"proxy": path.removeprefix("/")}, "isBase64Encoded": True}
    event["headers"] |= {"Content-Type": "application/json", **headers}
    event["multiValueHeaders"] |= {name: [value] for name, value in event["headers"].items()}
    event["requestContext"] |= {
        "httpMethod": method,
        "path": f"/prod{path}",
        "requestTimeEpoch": int(time.time() * 1000),
    }
    return event


def authorization(token: str) -> Event:
    """The gateway's question who calls."""
    event = _generated("apigateway", "request-authorizer")
    event["headers"]["Authorization"] = token
    return event


def sqs(body: str) -> Event:
    """A batch of one message."""
    event = _generated("sqs", "receive-message")
    event["Records"][0] |= {"body": body, "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()}
    return event


def schedule() -> Event:
    return _generated("cloudwatch", "scheduled-event")
