"""An OpenAI-compatible model server, scripted: asks for searches, takes notes, answers. In a process of its own.

    python -m tests.support.doubles.model_server --delay 0.3 --searches 4 --statuses 429,429

`--delay` seconds pass before each reply; `--trickle` seconds lie between the bytes of each reply, so that no read of
the client ever times out; `--searches` is how often it asks for the tool before it takes notes (a research crew makes
that many model calls and two more); `--usage` is what each call used, in tokens of the prompt, of the completion and
of the provider's cache, or nothing if it doesn't tell; `--statuses` are the HTTP statuses of the first calls, the last
one of them for all that follow if `--for-ever` is given, else 200; `--code` is the error code that goes with them,
`--retry-after` their header; `--size` is that of its texts in characters, such as no compression makes much smaller,
with `--wide` of three bytes each. In place of a status: `hang` answers nothing, `truncated` half of the JSON as if it
were all, `cut` half of it and then closes the connection, `nothing` an answer without choices.

A request with `stream` is answered in pieces, with the same words; Bedrock's Converse is understood, too.

GET /calls counts the calls that reached it; GET /log lists them: {"topic", "digest" (of the request), "status",
"caller" (its key), "stream", "cut" (nobody waited for the reply any more)}.

It embeds, too: GET /embedded has the texts of each request. These are no calls.

PUT /models/NAME, with a JSON list of such arguments, makes another one below that address, with a log of its own, in
place of the one that was there.
It prints `ready PORT`, and ends when its standard input does.
"""

import argparse
import asyncio
import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from crewrelay.local.child import announce, live_and_die_with_parent
from crewrelay.local.serve import listen
from tests.support.doubles import bedrock_wire
from tests.support.doubles.model_replies import completion, cut, embeddings, in_pieces, reply, topic_of, trickled


def create_app(options: argparse.Namespace) -> Starlette:
    log: list[dict[str, Any]] = []
    embedded: list[list[str]] = []
    script: list[str] = [status for status in options.statuses.split(",") if status]

    def next_status() -> str:
        if len(log) < len(script):
            return script[len(log)]
        return script[-1] if script and options.for_ever else "200"

    async def completions(request: Request) -> Response:
        return await answered(request, await request.json())

    async def converse(request: Request) -> Response:
        body = bedrock_wire.request(request.path_params["model"], await request.json())
        response = await answered(request, body)
        if response.status_code != 200:
            kind = {"x-amzn-errortype": bedrock_wire.ERRORS[response.status_code]}
            return JSONResponse({"message": "scripted"}, response.status_code, {**response.headers, **kind})
        return JSONResponse(bedrock_wire.response(json.loads(bytes(response.body))))

    async def answered(request: Request, body: dict[str, Any]) -> Response:
        status = next_status()
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        caller = request.headers.get("authorization", "").removeprefix("Bearer ")
        entry = {"topic": topic_of(body), "digest": digest, "status": status, "caller": caller, "cut": False}
        entry["stream"] = bool(body.get("stream"))
        log.append(entry)
        await asyncio.sleep(options.delay)
        while status == "hang" and not await request.is_disconnected():
            await asyncio.sleep(0.02)
        entry["cut"] = await request.is_disconnected()
        if status.isdigit() and status != "200":
            # As careless servers do, it repeats the key and what was asked.
            message = f"scripted {status} for {request.headers.get('authorization')}, on {topic_of(body)}"
            error = {"message": message, "type": "scripted", "code": options.code}
            headers = {"Retry-After": options.retry_after} if options.retry_after else None
            return JSONResponse({"error": error}, int(status), headers)
        content = completion(body, reply(body, options.searches, options.size, options.wide), options.usage)
        if body.get("stream"):
            return StreamingResponse(in_pieces(content, cut=status == "cut"), media_type="text/event-stream")
        whole = json.dumps(content).encode()
        if status == "truncated":
            return Response(whole[: len(whole) // 2], media_type="application/json")
        if status == "cut":  # it has said how long the answer is
            return StreamingResponse(
                cut(whole[: len(whole) // 2]),
                headers={"Content-Length": str(len(whole))},
                media_type="application/json",
            )
        if status == "nothing":
            return JSONResponse(content | {"choices": []})
        if options.trickle:
            return StreamingResponse(trickled(whole, options.trickle), media_type="application/json")
        return JSONResponse(content)

    async def embed(request: Request) -> Response:
        body = await request.json()
        embedded.append(body["input"])
        return JSONResponse(embeddings(body))

    async def texts(request: Request) -> Response:
        return JSONResponse(embedded)

    async def count(request: Request) -> Response:
        return JSONResponse(len(log))

    async def listed(request: Request) -> Response:
        return JSONResponse(log)

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/model/{model:path}/converse", converse, methods=["POST"]),
            Route("/v1/embeddings", embed, methods=["POST"]),
            Route("/calls", count),
            Route("/embedded", texts),
            Route("/log", listed),
        ]
    )
    app.state.log = log
    return app


def create_server(arguments: Sequence[str]) -> ASGIApp:
    """The app for those arguments, and those that are made below it."""
    models: dict[str, ASGIApp] = {}

    async def script(request: Request) -> Response:
        models[request.path_params["name"]] = create_app(options_of(await request.json()))
        return Response(status_code=204)

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        await models[scope["path_params"]["name"]](scope, receive, send)

    own = create_app(options_of(arguments))
    return Starlette(
        routes=[
            Route("/models/{name}", script, methods=["PUT"]),
            Mount("/models/{name}", app=named),
            Mount("/", app=own),
        ]
    )


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--trickle", type=float, default=0)
    parser.add_argument("--searches", type=int, default=1)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--usage", default="10,5,0")
    parser.add_argument("--statuses", default="")
    parser.add_argument("--for-ever", action="store_true")
    parser.add_argument("--code")
    parser.add_argument("--retry-after")
    return parser.parse_args(arguments)


def server(app: ASGIApp) -> uvicorn.Server:
    # Kept open for longer than any client keeps a connection: none is closed while it is being used again.
    return uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_keep_alive=75))


class Served(NamedTuple):
    port: int
    log: list[dict[str, Any]]


@contextmanager
def served(*arguments: str) -> Iterator[Served]:
    """One on a thread of this process, for tests that need many of them."""
    app = create_app(options_of(arguments))
    running = server(app)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield Served(listener.getsockname()[1], app.state.log)
        finally:
            running.should_exit = True
            thread.join(10)


def main() -> None:
    live_and_die_with_parent()
    running = server(create_server(sys.argv[1:]))
    with listen("127.0.0.1", 0) as listener:
        announce(listener.getsockname()[1])
        running.run(sockets=[listener])


if __name__ == "__main__":
    main()
