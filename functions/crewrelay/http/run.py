"""The app of the run function: runs the crew within the request, or answers where to find the job."""

import logging
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import APIRouter, FastAPI, Header, Request, Response

from crewrelay.catalogue.request import RunRequest
from crewrelay.http.app import IdempotencyKey, new_app
from crewrelay.http.callers import Starter
from crewrelay.http.document import LOCATION, PREFERENCE, RETRY_AFTER, operation_id, problems
from crewrelay.http.edge import received_at
from crewrelay.http.links import base_url, file_urls, status_path, status_url
from crewrelay.http.prefer import Preference, preference
from crewrelay.http.problems import RETRY_SECONDS, problem_of
from crewrelay.http.wire import Accepted, RunAnswer, RunProblem
from crewrelay.jobs.access import Caller
from crewrelay.jobs.errors import RunFailed
from crewrelay.jobs.ports import Clock, JobRecord, JobStore, record_of_tenant
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.running.execution import Execution, on_own_thread
from crewrelay.jobs.submission import Submission

logger = logging.getLogger(__name__)

router = APIRouter(generate_unique_id_function=operation_id)


class InlineRuns(NamedTuple):
    """A crew may run until `timeout` after the gateway got the request; the answer comes `grace` later at most."""

    submission: Submission
    execution: Execution
    store: JobStore
    clock: Clock
    timeout: timedelta
    grace: timedelta


def create_run(inline: InlineRuns, anonymous: Caller | None) -> FastAPI:
    app = new_app("Runs a crew within the request.", anonymous)
    app.state.inline = inline
    app.include_router(router)
    return app


@router.post(
    "/crewai/run",
    response_model=RunAnswer,
    responses={
        200: {"headers": LOCATION | PREFERENCE},
        202: {"model": Accepted, "headers": LOCATION | RETRY_AFTER | PREFERENCE},
        **problems(400, 413, 415, 422, 503),
        502: problems(502)[502] | {"model": RunProblem},
    },
    tags=["jobs"],
)
def run(
    caller: Starter,
    body: RunRequest,
    request: Request,
    response: Response,
    key: IdempotencyKey = None,
    _: Annotated[str, Header(alias="Prefer", description="RFC 7240: `wait=N` seconds, `respond-async`")] = "",
) -> Response | RunAnswer:
    """Run the crew and answer. At the deadline the answer is 202, and the job continues in the worker."""
    inline: InlineRuns = request.app.state.inline
    wanted = preference(request.headers.getlist("prefer"), inline.timeout)
    deadline = received_at(request, inline.clock) + wanted.timeout
    job_input = caller.permitted(body.job_input()).reached_at(base_url(request))
    if inline.clock() >= deadline:  # a slow start of the image may have used it up
        return _accepted(inline.submission.submit(caller.tenant, job_input, key), request, wanted)
    job = inline.submission.accept(caller.tenant, job_input, key)
    # The job is committed: from here on the answer waits no longer than the deadline, even if table or queue stall.
    finishing = on_own_thread(lambda: _run(inline, job, deadline), name=f"inline-{job.id}")
    last_moment = deadline + inline.grace - inline.clock()
    try:
        record = finishing.result(max(0.0, last_moment.total_seconds()))
    except Exception:  # whatever it is, the job is committed, and the sweeper looks after it
        logger.warning("answering before the job is given back", extra={"job_id": job.id}, exc_info=True)
        return _accepted(job, request, wanted)
    job = record.job
    if job.status is Status.COMPLETED:
        response.headers.update({"Location": status_path(request, job.id), **wanted.applied(answered=True)})
        return RunAnswer.of(record, file_urls(request, job.id))
    return _failed(job, request) if job.status.finished else _accepted(job, request, wanted)


def _run(inline: InlineRuns, job: Job, deadline: datetime) -> JobRecord:
    inline.execution.run(job.id, deadline)
    return record_of_tenant(inline.store, job.tenant, job.id)


def _accepted(job: Job, request: Request, wanted: Preference) -> Response:
    headers = {"Location": status_path(request, job.id), "Retry-After": str(RETRY_SECONDS)}
    headers |= wanted.applied(answered=False)
    accepted = Accepted.of(job, status_url(request, job.id))
    return Response(accepted.model_dump_json(), 202, headers, "application/json")


def _failed(job: Job, request: Request) -> Response:
    reason = job.error.message if job.error else f"The job was {job.status}."
    answer = problem_of(RunFailed(reason), job_id=job.id, error=job.error and job.error.model_dump())
    answer.headers["Location"] = status_path(request, job.id)
    return answer
