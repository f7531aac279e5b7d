"""An OpenAI-compatible model server, scripted: asks for searches, takes notes, answers. In a process of its own.

    python -m tests.doubles.model_server --delay 0.3 --searches 4 --statuses 429,429

`--delay` seconds pass before each reply; `--trickle` seconds lie between the bytes of each reply, so that no read of
the client ever times out; `--searches` is how often it asks for the tool before it takes notes (a research crew makes
that many model calls and two more); `--statuses` are the HTTP statuses of the first calls, the last one of them for
all that follow if `--for-ever` is given, else 200; `--code` is the error code that goes with them; `--size` is that
of its texts in characters, such as no compression makes much smaller.

GET /calls counts the calls that reached it; GET /log lists them: {"topic", "digest" (of the request), "status",
"caller" (its key), "cut" (nobody waited for the reply any more)}.
It prints `ready PORT`, and ends when its standard input does.
"""

import argparse
import asyncio
import hashlib
import json
import random
import re
import string
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from crewrelay.local.child import announce, live_and_die_with_parent
from crewrelay.local.serve import listen

_LETTERS = (string.ascii_letters.encode() * 5)[:256]


def topic_of(body: dict[str, Any]) -> str:
    found = re.search(r"Topic: (.*)", "\n".join(str(message.get("content")) for message in body["messages"]))
    return found[1].strip() if found else "nothing"


def reply(body: dict[str, Any], searches: int, size: int) -> dict[str, Any]:
    """The next message: a tool call if tools are offered and not yet called as often, else a text on the topic."""
    topic = topic_of(body)
    made = sum(message["role"] == "tool" for message in body["messages"])
    if body.get("tools") and made < searches:
        arguments = json.dumps({"query": f"{topic} {made}" if made else topic})
        name = body["tools"][0]["function"]["name"]
        call = {"id": f"call_{made + 1}", "type": "function", "function": {"name": name, "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    text = f"About {topic}: one fact [1], another [2], an invented one [99]."
    return {"role": "assistant", "content": text + noise(topic, size - len(text))}


def noise(seed: str, size: int) -> str:
    return random.Random(seed).randbytes(max(0, size)).translate(_LETTERS).decode()


def create_app(options: argparse.Namespace) -> Starlette:
    log: list[dict[str, Any]] = []
    statuses = [int(status) for status in options.statuses.split(",") if status]

    def next_status() -> int:
        if len(log) < len(statuses):
            return statuses[len(log)]
        return statuses[-1] if statuses and options.for_ever else 200

    async def completions(request: Request) -> Response:
        body = await request.json()
        status = next_status()
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        caller = request.headers.get("authorization", "").removeprefix("Bearer ")
        entry = {"topic": topic_of(body), "digest": digest, "status": status, "caller": caller, "cut": False}
        log.append(entry)
        await asyncio.sleep(options.delay)
        entry["cut"] = await request.is_disconnected()
        if status != 200:
            # As careless servers do, it repeats the key.
            message = f"scripted {status} for {request.headers.get('authorization')}"
            return JSONResponse({"error": {"message": message, "type": "scripted", "code": options.code}}, status)
        answer = reply(body, options.searches, options.size)
        finish = "tool_calls" if "tool_calls" in answer else "stop"
        content = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": answer, "finish_reason": finish}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
        if options.trickle:
            return StreamingResponse(
                _trickled(json.dumps(content).encode(), options.trickle), media_type="application/json"
            )
        return JSONResponse(content)

    async def count(request: Request) -> Response:
        return JSONResponse(len(log))

    async def listed(request: Request) -> Response:
        return JSONResponse(log)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/calls", count),
            Route("/log", listed),
        ]
    )


async def _trickled(body: bytes, pause: float) -> AsyncIterator[bytes]:
    for byte in body:
        yield bytes([byte])
        await asyncio.sleep(pause)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--trickle", type=float, default=0)
    parser.add_argument("--searches", type=int, default=1)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--statuses", default="")
    parser.add_argument("--for-ever", action="store_true")
    parser.add_argument("--code")
    options = parser.parse_args()
    live_and_die_with_parent()
    with listen("127.0.0.1", 0) as listener:
        announce(listener.getsockname()[1])
        # Kept open for longer than any client keeps a connection: none is closed while it is being used again.
        config = uvicorn.Config(create_app(options), log_level="warning", lifespan="off", timeout_keep_alive=75)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
