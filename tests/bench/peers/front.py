"""The API before a queue, with the routes of crewrelay that the measurements use.

python -m tests.bench.peers.front PORT TASKS, the module of the tasks.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from tests.bench.peers import jobs


class Request(BaseModel):
    topic: str
    language: str


def create_app(tasks: Any, is_async: bool) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if is_async:
            await tasks.broker.startup()
        yield

    app = FastAPI(lifespan=lifespan)

    if is_async:

        @app.post("/crewai/run/async", status_code=202)
        async def submit_soon(request: Request) -> dict[str, str]:
            job_id = str(uuid4())
            await tasks.send(job_id, request.topic, request.language)
            return {"job_id": job_id}

    else:

        @app.post("/crewai/run/async", status_code=202)
        def submit(request: Request) -> dict[str, str]:
            job_id = str(uuid4())
            tasks.send(job_id, request.topic, request.language)
            return {"job_id": job_id}

    @app.get("/crewai/status/{job_id}")
    def status(job_id: str) -> dict[str, Any]:
        found = jobs.results().get(f"done:{job_id}")
        return {"status": "pending" if found is None else "completed", "result": found}

    @app.get("/workers")
    def workers() -> int:
        return jobs.workers()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_app(import_module(sys.argv[2]), sys.argv[2].endswith(".taskiq_tasks")),
        port=int(sys.argv[1]),
        log_level="error",
    )
