"""The app of the inline function: run the crew within the request, or say where to look."""

import logging
from datetime import datetime, timedelta
from typing import NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response

from crewrelay.http.app import IdempotencyKey, new_app, problems, status_url
from crewrelay.http.edge import received_at
from crewrelay.http.problems import RETRY_AFTER, problem_of
from crewrelay.http.wire import Accepted, RunAnswer
from crewrelay.jobs.errors import RunFailed, Unavailable
from crewrelay.jobs.execution import Execution, on_own_thread
from crewrelay.jobs.job import Job
from crewrelay.jobs.ports import Clock, JobRecord, JobStore, record_of_tenant
from crewrelay.jobs.submission import Submission
from crewrelay.request import RunRequest

logger = logging.getLogger(__name__)

router = APIRouter()


class InlineRuns(NamedTuple):
    """A crew may run until `patience` after the gateway got the request; `grace` later there is an answer."""

    submission: Submission
    execution: Execution
    store: JobStore
    tenant: str
    clock: Clock
    patience: timedelta
    grace: timedelta


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
    if inline.clock() >= deadline:  # an image that took its time to start may have used it all
        return _accepted(inline.submission.submit(inline.tenant, body.job_input(), key), request)
    job = inline.submission.accept(inline.tenant, body.job_input(), key)
    # Once it is committed, the answer waits for nothing: what follows takes longer if the table or the queue stalls.
    finishing = on_own_thread(lambda: _run(inline, job, deadline), name=f"inline-{job.id}")
    last_moment = deadline + inline.grace - inline.clock()
    try:
        job, _, answer = finishing.result(max(0.0, last_moment.total_seconds()))
    except (TimeoutError, Unavailable):
        logger.warning("answering before the job is given back", extra={"job_id": job.id}, exc_info=True)
        return _accepted(job, request)
    if answer is not None:
        response.headers["Location"] = status_url(request, job.id)
        return RunAnswer.of(job, answer)
    return _failed(job, request) if job.status.finished else _accepted(job, request)


def _run(inline: InlineRuns, job: Job, deadline: datetime) -> JobRecord:
    inline.submission.ring_later(job, inline.patience)
    inline.execution.run(job.id, deadline)
    return record_of_tenant(inline.store, inline.tenant, job.id)


def _accepted(job: Job, request: Request) -> Response:
    headers = {"Location": status_url(request, job.id), "Retry-After": str(RETRY_AFTER)}
    return Response(Accepted.of(job).model_dump_json(), 202, headers, "application/json")


def _failed(job: Job, request: Request) -> Response:
    reason = job.error.message if job.error else f"The job was {job.status}."
    answer = problem_of(RunFailed(reason), job_id=job.id, error=job.error and job.error.model_dump())
    answer.headers["Location"] = status_url(request, job.id)
    return answer
