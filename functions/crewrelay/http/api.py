"""The app of the functions that answer quickly: submit and status."""

from typing import Annotated, Any

from fastapi import FastAPI, Header, Request, Response

from crewrelay import __version__
from crewrelay.http.edge import BodyLimit
from crewrelay.http.problems import MEDIA_TYPE, Problem, answer_with_problems
from crewrelay.http.wire import Accepted, Health, JobStatus
from crewrelay.jobs.ports import JobStore, record_of_tenant
from crewrelay.jobs.submission import Submission
from crewrelay.request import RunRequest

IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]

_PROBLEMS = {
    400: "The body is not a JSON object",
    404: "There is no such job",
    413: "The body is larger than 256 KB",
    422: "A field breaks a rule, or the idempotency key was used with another body",
    502: "The crew failed; the job's status holds the reason",
    503: "Try again after Retry-After seconds",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documentation of a route's refusals."""
    return {status: {"model": Problem, "description": _PROBLEMS[status]} for status in statuses}


def new_app(description: str) -> FastAPI:
    app = FastAPI(title="crewrelay", version=__version__, description=description, redirect_slashes=False)
    app.add_middleware(BodyLimit)
    answer_with_problems(app)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        """FastAPI documents every answer as application/json; ours over 400 are problem+json."""
        fresh = app.openapi_schema is None
        document = plain()
        if fresh:
            for path in document["paths"].values():
                for operation in path.values():
                    for status, answer in operation["responses"].items():
                        if status >= "400":
                            answer["content"] = {MEDIA_TYPE: answer["content"].pop("application/json")}
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def status_url(request: Request, job_id: str) -> str:
    return f"{request.scope.get('root_path', '')}/crewai/status/{job_id}"


def create_api(submission: Submission, store: JobStore, tenant: str) -> FastAPI:
    app = new_app(
        "Durable CrewAI crews: answered inline when they fit the request, relayed to a queue when they don't."
    )

    @app.get("/health", tags=["service"])
    async def health() -> Health:
        """Says that the service runs; asks nothing of the table or the queue."""
        return Health(status="ok", version=__version__)

    @app.post("/crewai/run/async", status_code=202, responses=problems(400, 413, 422, 503), tags=["jobs"])
    def submit(body: RunRequest, request: Request, response: Response, key: IdempotencyKey = None) -> Accepted:
        """Accept a job: committed before this answers, run by the worker, to be found at `Location`."""
        job = submission.enqueue(tenant, body.job_input(), key)
        response.headers["Location"] = status_url(request, job.id)
        return Accepted.of(job)

    @app.get("/crewai/status/{job_id}", responses=problems(404, 422, 503), tags=["jobs"])
    def status(job_id: str) -> JobStatus:
        """The job as it stands now, with its result once it has one."""
        return JobStatus.of(record_of_tenant(store, tenant, job_id))

    return app
