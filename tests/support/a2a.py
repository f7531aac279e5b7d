"""A2A's client, reduced to its requests."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.testclient import TestClient

Json = dict[str, Any]

BASE = "/a2a/research"
PARTS = [{"text": "neural networks"}, {"data": {"language": "en"}}]
AT_ONCE = {"returnImmediately": True}


def message(message_id: str = "m-1", **more: Any) -> Json:
    return {"messageId": message_id, "role": "ROLE_USER", "parts": PARTS, **more}


def call(client: TestClient, method: str, params: Mapping[str, Any], **headers: str) -> Json:
    """The result, or the error, of a call by JSON-RPC."""
    body = {"jsonrpc": "2.0", "id": "7", "method": method, "params": params}
    response = client.post(BASE, json=body, headers=headers)
    answer: Json = response.json()
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", "7")
    found: Json = answer["error" if "error" in answer else "result"]
    return found


def sent(client: TestClient, message_id: str = "m-1", **more: Any) -> Json:
    """The task of a message, without waiting for it."""
    task: Json = call(client, "SendMessage", {"message": message(message_id, **more), "configuration": AT_ONCE})["task"]
    return task


def streamed(text: str) -> list[Json]:
    assert text.endswith("\n\n")
    return [json.loads(block.removeprefix("data: ")) for block in text.split("\n\n")[:-1]]
