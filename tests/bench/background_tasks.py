"""What everybody starts with: FastAPI's BackgroundTasks and a dict. The same crew, built by CrewAI alone.

python -m tests.bench.background_tasks PORT MODEL_URL
"""

import sys
from typing import Any
from uuid import uuid4

import uvicorn
import yaml
from crewai import LLM, Agent, Crew, Task
from crewai.tools import BaseTool
from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel

from crewrelay.crews.passages.search import fenced
from crewrelay.wiring import retrieval
from crewrelay.wiring.secrets import embedder_settings, retrieval_settings
from tests.support.processes import ROOT

CONFIG = ROOT / "functions/crewrelay/catalogue/shipped/research/config"


class Search(BaseTool):
    name: str = "search_passages"
    description: str = "Searches the collection for passages."
    retriever: Any

    def _run(self, query: str) -> str:
        found = self.retriever.retrieve(query)
        return fenced(query, [passage.model_copy(update={"number": n}) for n, passage in enumerate(found, 1)])


class Request(BaseModel):
    topic: str
    language: str


def create_app(model_url: str) -> FastAPI:
    settings = retrieval_settings()
    retriever = retrieval.retriever(retrieval.collections(settings), settings, retrieval.embedder(embedder_settings()))
    agents, tasks = (yaml.safe_load((CONFIG / f"{name}.yaml").read_text()) for name in ("agents", "tasks"))
    jobs: dict[str, dict[str, Any]] = {}
    app = FastAPI()

    def crew() -> Crew:
        llm = LLM(model="openai/scripted", base_url=f"{model_url}/v1", api_key="test")
        search = Search(retriever=retriever)
        made = {
            name: Agent(**{**agent, "tools": [search] if "tools" in agent else []}, llm=llm)
            for name, agent in agents.items()
        }
        research = Task(**{**tasks["research"], "agent": made["researcher"]})
        write = Task(**{**tasks["write"], "agent": made["writer"], "context": [research]})
        return Crew(agents=list(made.values()), tasks=[research, write])

    def run(job_id: str, request: Request) -> None:
        result = crew().kickoff(inputs=request.model_dump())
        jobs[job_id] = {"status": "completed", "result": str(result)}

    @app.post("/crewai/run/async", status_code=202)
    def submit(request: Request, background: BackgroundTasks) -> dict[str, str]:
        job_id = str(uuid4())
        jobs[job_id] = {"status": "pending"}
        background.add_task(run, job_id, request)
        return {"job_id": job_id}

    @app.get("/crewai/status/{job_id}")
    def status(job_id: str) -> dict[str, Any]:
        return jobs[job_id]

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[2]), port=int(sys.argv[1]), log_level="error")
