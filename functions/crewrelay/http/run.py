"""The app of the inline function: run the crew within the request, or say where to look."""

import logging
from datetime import timedelta
from typing import NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response

from crewrelay.http.app import IdempotencyKey, new_app, problems, status_url
from crewrelay.http.edge import received_at
from crewrelay.http.problems import RETRY_AFTER, problem_of
from crewrelay.http.wire import Accepted, RunAnswer
from crewrelay.jobs.errors import RunFailed, Unavailable
from crewrelay.jobs.execution import Execution
from crewrelay.jobs.job import Job
from crewrelay.jobs.ports import Clock, JobStore, record_of_tenant
from crewrelay.jobs.submission import Submission
from crewrelay.request import RunRequest

logger = logging.getLogger(__name__)

router = APIRouter()


class InlineRuns(NamedTuple):
    """`patience` is how long after the gateway got the request it must have its answer."""

    submission: Submission
    execution: Execution
    store: JobStore
    tenant: str
    clock: Clock
    patience: timedelta


def create_run(inline: InlineRuns) -> FastAPI:
    app = new_app("Runs a crew within the request.")
    app.state.inline = inline
    app.include_router(router)
    return app


@router.post(
    "/crewai/run",
    response_model=RunAnswer,
    responses={202: {"model": Accepted}, **problems(400, 413, 422, 502, 503)},
    tags=["jobs"],
)
def run(body: RunRequest, request: Request, response: Response, key: IdempotencyKey = None) -> Response | RunAnswer:
    """Run the crew and answer; at the deadline, 202: the job goes on in the worker."""
    inline: InlineRuns = request.app.state.inline
    deadline = received_at(request, inline.clock) + inline.patience
    in_time = inline.clock() < deadline  # an image that took its time to start may have used it all
    accept = inline.submission.accept if in_time else inline.submission.enqueue
    job = accept(inline.tenant, body.job_input(), key)
    answer = None
    try:
        if in_time:
            inline.execution.run(job.id, deadline)
        job, _, answer = record_of_tenant(inline.store, inline.tenant, job.id)
    except Unavailable:  # the job is committed: whoever answers its next ring goes on with it
        logger.warning("lost sight of an inline run", extra={"job_id": job.id}, exc_info=True)
    location = {"Location": status_url(request, job.id)}
    if answer is not None:
        response.headers.update(location)
        return RunAnswer.of(job, answer)
    if job.status.finished:
        return _failed(job, location)
    accepted = Accepted.of(job).model_dump_json()
    return Response(accepted, 202, location | {"Retry-After": str(RETRY_AFTER)}, "application/json")


def _failed(job: Job, location: dict[str, str]) -> Response:
    reason = job.error.message if job.error else f"The job was {job.status}."
    answer = problem_of(RunFailed(reason), job_id=job.id, error=job.error and job.error.model_dump())
    answer.headers.update(location)
    return answer
