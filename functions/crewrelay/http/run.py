"""The app of the inline function: run the crew within the request, or say where to look."""

import logging
from datetime import timedelta

from fastapi import FastAPI, Request, Response

from crewrelay.http.api import IdempotencyKey, new_app, problems, status_url
from crewrelay.http.edge import received_at
from crewrelay.http.problems import RETRY_AFTER, problem_of
from crewrelay.http.wire import Accepted, RunAnswer
from crewrelay.jobs.errors import RunFailed, Unavailable
from crewrelay.jobs.execution import Execution
from crewrelay.jobs.ports import Clock, JobStore, record_of_tenant
from crewrelay.jobs.submission import Submission
from crewrelay.request import RunRequest

logger = logging.getLogger(__name__)


def create_run(
    submission: Submission,
    execution: Execution,
    store: JobStore,
    tenant: str,
    clock: Clock,
    patience: timedelta,
) -> FastAPI:
    """`patience` is how long after the gateway got the request it must have its answer."""
    app = new_app("Runs a crew within the request.")

    @app.post(
        "/crewai/run",
        response_model=RunAnswer,
        responses={202: {"model": Accepted}, **problems(400, 413, 422, 502, 503)},
        tags=["jobs"],
    )
    def run(body: RunRequest, request: Request, response: Response, key: IdempotencyKey = None) -> Response | RunAnswer:
        """Run the crew and answer; at the deadline, 202: the job goes on in the worker."""
        deadline = received_at(request, clock) + patience
        in_time = clock() < deadline  # an image that took its time to start may have used it all
        job = (submission.accept if in_time else submission.enqueue)(tenant, body.job_input(), key)
        location = {"Location": status_url(request, job.id)}
        answer = None
        try:
            if in_time:
                execution.run(job.id, deadline)
            job, _, answer = record_of_tenant(store, tenant, job.id)
        except Unavailable:  # the job is committed: whoever answers its next ring goes on with it
            logger.warning("lost sight of an inline run", extra={"job_id": job.id}, exc_info=True)
        if answer is not None:
            response.headers.update(location)
            return RunAnswer.of(job, answer)
        if job.status.finished:
            reason = job.error.message if job.error else f"The job was {job.status}."
            failed = problem_of(RunFailed(reason), job_id=job.id, error=job.error and job.error.model_dump())
            failed.headers.update(location)
            return failed
        accepted = Accepted.of(job).model_dump_json()
        return Response(accepted, 202, location | {"Retry-After": str(RETRY_AFTER)}, "application/json")

    return app
