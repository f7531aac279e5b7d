"""The app of the inline function: run the crew within the request, or say where to look."""

import logging
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import APIRouter, FastAPI, Header, Request, Response

from crewrelay.catalogue.request import RunRequest
from crewrelay.http.app import IdempotencyKey, new_app, problems, status_url
from crewrelay.http.callers import Starter
from crewrelay.http.edge import received_at
from crewrelay.http.prefer import Preference, preference
from crewrelay.http.problems import RETRY_AFTER, problem_of
from crewrelay.http.wire import Accepted, RunAnswer
from crewrelay.jobs.access import Caller
from crewrelay.jobs.errors import RunFailed
from crewrelay.jobs.execution import Execution, on_own_thread
from crewrelay.jobs.job import Job, Status
from crewrelay.jobs.ports import Clock, JobRecord, JobStore, record_of_tenant
from crewrelay.jobs.submission import Submission

logger = logging.getLogger(__name__)

router = APIRouter()


class InlineRuns(NamedTuple):
    """A crew may run until `timeout` after the gateway got the request; `grace` later there is an answer."""

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
    responses={202: {"model": Accepted}, **problems(400, 413, 422, 429, 502, 503)},
    tags=["jobs"],
)
def run(
    caller: Starter,
    body: RunRequest,
    request: Request,
    response: Response,
    key: IdempotencyKey = None,
    prefer: Annotated[list[str] | None, Header(description="RFC 7240: `wait=N` seconds, `respond-async`")] = None,
) -> Response | RunAnswer:
    """Run the crew and answer; at the deadline, 202: the job goes on in the worker."""
    inline: InlineRuns = request.app.state.inline
    wanted = preference(prefer or [], inline.timeout)
    deadline = received_at(request, inline.clock) + wanted.timeout
    if inline.clock() >= deadline:  # an image that took its time to start may have used it all
        return _accepted(inline.submission.submit(caller.tenant, body.job_input(), key), request, wanted)
    job = inline.submission.accept(caller.tenant, body.job_input(), key)
    # Once it is committed, the answer waits for nothing: what follows takes longer if the table or the queue stalls.
    finishing = on_own_thread(lambda: _run(inline, job, deadline), name=f"inline-{job.id}")
    last_moment = deadline + inline.grace - inline.clock()
    try:
        record = finishing.result(max(0.0, last_moment.total_seconds()))
    except Exception:  # whatever it is, the job is committed, and the sweeper looks after it
        logger.warning("answering before the job is given back", extra={"job_id": job.id}, exc_info=True)
        return _accepted(job, request, wanted)
    job = record.job
    if job.status is Status.COMPLETED:
        response.headers.update({"Location": status_url(request, job.id), **wanted.applied(answered=True)})
        return RunAnswer.of(record)
    return _failed(job, request) if job.status.finished else _accepted(job, request, wanted)


def _run(inline: InlineRuns, job: Job, deadline: datetime) -> JobRecord:
    inline.execution.run(job.id, deadline)
    return record_of_tenant(inline.store, job.tenant, job.id)


def _accepted(job: Job, request: Request, wanted: Preference) -> Response:
    headers = {"Location": status_url(request, job.id), "Retry-After": str(RETRY_AFTER)}
    headers |= wanted.applied(answered=False)
    return Response(Accepted.of(job).model_dump_json(), 202, headers, "application/json")


def _failed(job: Job, request: Request) -> Response:
    reason = job.error.message if job.error else f"The job was {job.status}."
    answer = problem_of(RunFailed(reason), job_id=job.id, error=job.error and job.error.model_dump())
    answer.headers["Location"] = status_url(request, job.id)
    return answer
