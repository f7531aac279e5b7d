"""The least that a durable submission can be: a FastAPI route that commits one row of SQLite, with fsync.

python -m tests.bench.peers.floor PORT FILE
"""

import json
import sqlite3
import sys
import threading
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Request(BaseModel):
    topic: str
    language: str


def create_app(file: str) -> FastAPI:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, body TEXT)")
    turn = threading.Lock()
    app = FastAPI()

    @app.post("/crewai/run/async", status_code=202)
    def submit(request: Request) -> dict[str, str]:
        job_id = str(uuid4())
        with turn:
            connection.execute("INSERT INTO jobs VALUES (?, ?)", (job_id, json.dumps(request.model_dump())))
        return {"job_id": job_id}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[2]), port=int(sys.argv[1]), log_level="error")
