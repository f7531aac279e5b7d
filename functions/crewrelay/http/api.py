"""The app of the functions that answer quickly: submit, status, calls, cancel, retry."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from starlette.routing import BaseRoute

from crewrelay import __version__
from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.request import RunRequest
from crewrelay.http.app import IdempotencyKey, new_app, problems, status_url
from crewrelay.http.callers import Admin, Reader, Starter
from crewrelay.http.wire import Accepted, CrewCard, Crews, Health, JobCalls, JobStatus
from crewrelay.jobs.access import Caller
from crewrelay.jobs.errors import UnknownJob
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import JobStore, record_of_tenant
from crewrelay.jobs.submission import Submission, keyed_id, message_key

_MOST_CALLS = 1000


def _run_routes() -> Iterable[BaseRoute]:
    from crewrelay.http.run import router  # here, for it costs the start of a function that never serves it

    return router.routes


def create_api(
    submission: Submission, intervention: Intervention, store: JobStore, anonymous: Caller | None
) -> FastAPI:
    app = new_app(
        "Durable CrewAI crews: answered inline when they fit the request, relayed to a queue when they don't.",
        anonymous,
        also_documented=_run_routes,
    )

    @app.head("/health", include_in_schema=False)
    @app.get("/health", tags=["service"])
    async def health() -> Health:
        """Says that the service runs; asks nothing of the table or the queue."""
        return Health(status="ok", version=__version__)

    @app.post("/crewai/run/async", status_code=202, responses=problems(400, 413, 422, 429, 503), tags=["jobs"])
    def submit(
        caller: Starter, body: RunRequest, request: Request, response: Response, key: IdempotencyKey = None
    ) -> Accepted:
        """Accept a job: committed before this answers, run by the worker, to be found at `Location`."""
        job = submission.submit(caller.tenant, body.job_input(), key)
        response.headers["Location"] = status_url(request, job.id)
        return Accepted.of(job)

    @app.get("/crewai/status/{job_id}", responses=problems(404, 422, 503), tags=["jobs"])
    def status(caller: Reader, job_id: str) -> JobStatus:
        """The job as it stands now, with its result once it has one."""
        return JobStatus.of(record_of_tenant(store, caller.tenant, job_id))

    @app.get("/crewai/messages/{message_id}", responses=problems(404, 422, 503), tags=["jobs"])
    def message(caller: Reader, message_id: str) -> JobStatus:
        """The job of a message of the intake queue, by the MessageId that SQS answered to its sender."""
        try:
            return status(caller, keyed_id(caller.tenant, message_key(message_id)))
        except UnknownJob:
            raise UnknownJob(f"There is no job of message {message_id}, or not yet.") from None

    @app.get("/crewai/jobs/{job_id}/calls", responses=problems(404, 422, 503), tags=["jobs"])
    def calls(
        caller: Reader,
        job_id: str,
        after: Annotated[int, Query(ge=0, description="the number of the last call that is known already")] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST_CALLS)] = 100,
    ) -> JobCalls:
        """What the job has paid for, call by call: what each used and cost, never what was asked or said."""
        job = record_of_tenant(store, caller.tenant, job_id).job
        return JobCalls.of(job, store.entries(job), after, limit)

    @app.post("/crewai/jobs/{job_id}/cancel", responses=problems(404, 409, 422, 503), tags=["jobs"])
    def cancel(caller: Admin, job_id: str) -> JobStatus:
        """End the job: at once if it is pending, before its next call if it is running."""
        return JobStatus.of(intervention.cancel(caller.tenant, job_id))

    @app.post("/crewai/jobs/{job_id}/retry", responses=problems(404, 409, 422, 429, 503), tags=["jobs"])
    def retry(caller: Admin, job_id: str) -> JobStatus:
        """Try a failed job again: it goes on from where its journal ends, and pays for no call twice."""
        return JobStatus.of(intervention.retry(caller.tenant, job_id))

    @app.get("/crewai/crews", responses=problems(), tags=["crews"])
    def crews(_: Reader) -> Crews:
        """The crews of this deployment and what each is given: `{"crew": name, "inputs": {…}}`."""
        known = catalogue()
        return Crews(crews=[CrewCard.of(known.card(name)) for name in known.names()])

    return app
