"""What everybody starts with: FastAPI's BackgroundTasks and a dict.

python -m tests.bench.peers.background_tasks PORT
"""

import os
import sys
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel

from tests.bench.peers.plain_crew import plain_crew


class Request(BaseModel):
    topic: str
    language: str


def create_app(model_url: str) -> FastAPI:
    answered = plain_crew(model_url)
    jobs: dict[str, dict[str, Any]] = {}
    app = FastAPI()

    def run(job_id: str, request: Request) -> None:
        jobs[job_id] = {"status": "completed", "result": answered(request.topic, request.language)}

    @app.post("/crewai/run/async", status_code=202)
    def submit(request: Request, background: BackgroundTasks) -> dict[str, str]:
        job_id = str(uuid4())
        jobs[job_id] = {"status": "pending"}
        background.add_task(run, job_id, request)
        return {"job_id": job_id}

    @app.get("/crewai/status/{job_id}")
    def status(job_id: str) -> dict[str, Any]:
        return jobs.get(job_id, {"status": "unknown"})

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(os.environ["BENCH_MODEL_URL"]), port=int(sys.argv[1]), log_level="error")
