"""An OpenAI-compatible model server, scripted: asks for a search, takes notes, answers. In a process of its own.

    python -m tests.doubles.model_server --delay 0.3

`--delay` seconds pass before each reply; `--trickle` seconds lie between the bytes of each reply, so that no read of
the client ever times out; `--status` answers every call with that HTTP status. GET /calls counts the calls.
It prints `ready PORT`, and ends when its standard input does.
"""

import argparse
import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from crewrelay.local.child import announce, live_and_die_with_parent
from crewrelay.local.serve import listen


def reply(body: dict[str, Any]) -> dict[str, Any]:
    """The next message: a tool call if tools are offered and none was called yet, else a text on the topic."""
    messages = body["messages"]
    text = "\n".join(str(message.get("content")) for message in messages)
    found = re.search(r"Topic: (.*)", text)
    topic = found[1] if found else "nothing"
    if body.get("tools") and not any(message["role"] == "tool" for message in messages):
        arguments = json.dumps({"query": topic})
        name = body["tools"][0]["function"]["name"]
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"role": "assistant", "content": f"About {topic}: one fact [1], another [2], an invented one [99]."}


def create_app(delay: float, trickle: float, status: int) -> Starlette:
    calls = 0

    async def completions(request: Request) -> Response:
        nonlocal calls
        calls += 1
        body = await request.json()
        await asyncio.sleep(delay)
        if status != 200:
            # As careless servers do, it repeats the key.
            message = f"scripted {status} for {request.headers.get('authorization')}"
            return JSONResponse({"error": {"message": message, "type": "scripted"}}, status)
        answer = reply(body)
        finish = "tool_calls" if "tool_calls" in answer else "stop"
        content = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": answer, "finish_reason": finish}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
        if trickle:
            return StreamingResponse(_trickled(json.dumps(content).encode(), trickle), media_type="application/json")
        return JSONResponse(content)

    async def count(request: Request) -> Response:
        return JSONResponse(calls)

    return Starlette(routes=[Route("/v1/chat/completions", completions, methods=["POST"]), Route("/calls", count)])


async def _trickled(body: bytes, pause: float) -> AsyncIterator[bytes]:
    for byte in body:
        yield bytes([byte])
        await asyncio.sleep(pause)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--trickle", type=float, default=0)
    parser.add_argument("--status", type=int, default=200)
    options = parser.parse_args()
    live_and_die_with_parent()
    with listen("127.0.0.1", 0) as listener:
        announce(listener.getsockname()[1])
        app = create_app(options.delay, options.trickle, options.status)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listener])


if __name__ == "__main__":
    main()
