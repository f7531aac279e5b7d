"""URL TOKEN: the SDK of A2A 0.3 runs a crew, with a stream and without, and answers its question."""

import asyncio
import json
import sys
import uuid
from importlib.metadata import version
from typing import Any

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import DataPart, Message, Part, Role, TaskIdParams, TextPart

url, token = sys.argv[1], sys.argv[2]


def message(text: str, scenario: str = "", **more: Any) -> Message:
    parts = [Part(root=TextPart(text=text))]
    if scenario:
        parts.append(Part(root=DataPart(data={"scenario": scenario})))
    return Message(message_id=str(uuid.uuid4()), role=Role.user, parts=parts, **more)


async def main() -> dict[str, Any]:
    found: dict[str, Any] = {"version": version("a2a-sdk")}
    async with httpx.AsyncClient(timeout=40, headers={"Authorization": f"Bearer {token}"}) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        for streaming in (True, False):
            client = ClientFactory(ClientConfig(httpx_client=http, streaming=streaming)).create(card)
            events = [event async for event in client.send_message(message("hello"))]
            task = events[-1][0]
            texts = [part.root.text for artifact in task.artifacts for part in artifact.parts]
            found["stream" if streaming else "send"] = [len(events) > 1, task.status.state.value, *texts]
        ((first, _),) = [event async for event in client.send_message(message("hello", "tck-input-required"))]
        ((last, _),) = [event async for event in client.send_message(message("that is all", task_id=first.id))]
        ((other, _),) = [event async for event in client.send_message(message("hello", "tck-input-required"))]
        ended = await client.cancel_task(TaskIdParams(id=other.id))
        found["states"] = [each.status.state.value for each in (first, last, ended)]
    return found


print(json.dumps(asyncio.run(main())))
