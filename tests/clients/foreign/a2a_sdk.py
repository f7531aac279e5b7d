"""URL TOKEN: the SDK of A2A 1.0 runs a crew by both bindings, answers its question, and cancels one."""

import asyncio
import json
import sys
import uuid
from importlib.metadata import version
from typing import Any

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import CancelTaskRequest, GetTaskRequest, ListTasksRequest, SendMessageRequest
from a2a.types import TaskState as State
from google.protobuf.json_format import ParseDict

url, token = sys.argv[1], sys.argv[2]


def message(text: str, scenario: str = "", **more: Any) -> SendMessageRequest:
    parts: list[dict[str, Any]] = [{"text": text}]
    if scenario:
        parts.append({"data": {"scenario": scenario}})
    sent = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": parts, **more}
    return ParseDict({"message": sent}, SendMessageRequest())


async def main() -> dict[str, Any]:
    found: dict[str, Any] = {"version": version("a2a-sdk")}
    async with httpx.AsyncClient(timeout=40, headers={"Authorization": f"Bearer {token}"}) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        for binding in ("JSONRPC", "HTTP+JSON"):
            for streaming in (True, False):
                config = ClientConfig(httpx_client=http, streaming=streaming, supported_protocol_bindings=[binding])
                client = ClientFactory(config).create(card)
                events = [event async for event in client.send_message(message("hello"))]
                task = await client.get_task(GetTaskRequest(id=events[0].task.id))
                kinds = [event.WhichOneof("payload") for event in events]
                texts = [part.text for artifact in task.artifacts for part in artifact.parts]
                found[f"{binding} {'stream' if streaming else 'send'}"] = [kinds[0], kinds[-1], *texts]
            (first,) = [event async for event in client.send_message(message("hello", "tck-input-required"))]
            assert first.task.status.state == State.TASK_STATE_INPUT_REQUIRED
            (last,) = [event async for event in client.send_message(message("that is all", taskId=first.task.id))]
            (other,) = [event async for event in client.send_message(message("hello", "tck-input-required"))]
            ended = await client.cancel_task(CancelTaskRequest(id=other.task.id))
            listed = await client.list_tasks(ListTasksRequest(context_id=last.task.context_id))
            found[f"{binding} tasks"] = [
                State.Name(last.task.status.state),
                State.Name(ended.status.state),
                [task.id for task in listed.tasks] == [last.task.id],
            ]
    return found


print(json.dumps(asyncio.run(main())))
