"""The app of the API function, which answers quickly: all routes but /crewai/run."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.routing import BaseRoute

from crewrelay import __version__
from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.request import RunRequest
from crewrelay.http.app import IdempotencyKey, new_app
from crewrelay.http.batches import batch_routes
from crewrelay.http.callers import Admin, Reader, Starter
from crewrelay.http.document import LOCATION, OF_OPEN_ROUTES, RETRY_AFTER, Responses, problems
from crewrelay.http.events import event_routes
from crewrelay.http.front import front_routes
from crewrelay.http.links import base_url, file_urls, status_path, status_url
from crewrelay.http.listing import listing_routes
from crewrelay.http.problems import RETRY_SECONDS
from crewrelay.http.protocols.on_demand import protocol_routes
from crewrelay.http.services import Services
from crewrelay.http.status import status_routes
from crewrelay.http.uploads import upload_routes
from crewrelay.http.waiting import Resumption
from crewrelay.http.webhooks import webhook_routes
from crewrelay.http.wire import Accepted, CrewCard, Crews, Health, JobCalls, JobStatus
from crewrelay.jobs.access import Caller
from crewrelay.jobs.errors import InvalidCrew, UnknownFile, UnknownJob
from crewrelay.jobs.ports import JobRecord, record_of_tenant
from crewrelay.jobs.records.answer import FILE_TYPE
from crewrelay.jobs.records.job import keyed_id
from crewrelay.jobs.submission import message_key

_MOST_CALLS = 1000
_FILE: dict[str, Any] = {FILE_TYPE: {"schema": {"type": "string", "format": "binary"}}}
_FILE_URL: dict[str, Any] = {
    "application/json": {"schema": {"type": "object", "properties": {"url": {"type": "string"}}}}
}


def _run_routes() -> Iterable[BaseRoute]:
    from crewrelay.http.run import router  # here: a function that never serves it starts faster without

    return router.routes


def create_api(services: Services, anonymous: Caller | None, protocols: Iterable[str] = ()) -> FastAPI:
    """`protocols`: the names of those that are served besides the API's own routes."""
    submission, intervention, store, batches, long_poll, deliveries, secrets = services
    app = new_app(
        "Durable CrewAI crews: answered inline when they fit the request, relayed to a queue when they don't.",
        anonymous,
        also_documented=_run_routes,
    )

    app.include_router(front_routes(app.title))

    @app.get("/health", responses=OF_OPEN_ROUTES, tags=["service"])
    async def health() -> Health:
        """Whether the service runs. Does not check the table or the queue."""
        return Health(status="ok", version=__version__)

    @app.post(
        "/crewai/run/async",
        status_code=202,
        responses={202: {"headers": LOCATION | RETRY_AFTER}, **problems(400, 413, 415, 422, 503)},
        tags=["jobs"],
    )
    def submit(
        caller: Starter, body: RunRequest, request: Request, response: Response, key: IdempotencyKey = None
    ) -> Accepted:
        """Submit a job. It is committed before the answer is sent, and the worker runs it."""
        job = submission.submit(caller.tenant, caller.permitted(body.job_input()).reached_at(base_url(request)), key)
        response.headers["Location"] = status_path(request, job.id)
        response.headers["Retry-After"] = str(RETRY_SECONDS)
        return Accepted.of(job, status_url(request, job.id))

    app.include_router(status_routes(store, long_poll))
    app.include_router(event_routes(store, long_poll))

    @app.get("/crewai/messages/{message_id}", responses=_job(404, 422, 503), tags=["jobs"])
    def message(caller: Reader, message_id: str, request: Request, response: Response) -> JobStatus:
        """The job of a message of the intake queue, by the MessageId that SQS returned to the sender."""
        job_id = keyed_id(caller.tenant, message_key(message_id))
        try:
            return _status(record_of_tenant(store, caller.tenant, job_id), request, response)
        except UnknownJob:
            raise UnknownJob(f"There is no job of message {message_id}, or not yet.") from None

    @app.get("/crewai/jobs/{job_id}/calls", responses=problems(404, 422, 503), tags=["jobs"])
    def calls(
        caller: Reader,
        job_id: str,
        after: Annotated[int, Query(ge=0, description="Return the calls after this number.")] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST_CALLS)] = 100,
    ) -> JobCalls:
        """What the job has paid for, call by call: usage and cost, never prompts or answers."""
        job = record_of_tenant(store, caller.tenant, job_id).job
        return JobCalls.of(job, store.entries(job), after, limit)

    app.include_router(listing_routes(store, batches))

    @app.get(
        "/crewai/jobs/{job_id}/files/{number}",
        response_class=Response,
        responses={200: {"content": _FILE | _FILE_URL}, 307: {"headers": LOCATION}, **problems(404, 422, 503)},
        tags=["jobs"],
    )
    def file(
        caller: Reader,
        job_id: str,
        number: Annotated[int, Path(ge=1)],
        redirect: Annotated[bool, Query(description="Whether to be redirected, or told the `url` as JSON.")] = True,
    ) -> Response:
        """A file that the crew wrote, to be saved; or a redirection to it, valid for an hour. A web page, which can't
        read where a redirection leads, asks with `redirect=false`.
        """
        record = record_of_tenant(store, caller.tenant, job_id)
        job, answer = record.job, record.answer
        found = answer.files[number - 1] if answer and number <= len(answer.files) else None
        content = store.read_file(job, found) if found and found.digest else None
        if found is None or content is None:
            raise UnknownFile(f"Job {job_id} has no file {number}.")
        if isinstance(content, str):
            return RedirectResponse(content) if redirect else JSONResponse({"url": content})
        headers = {"Content-Disposition": found.disposition, "X-Content-Type-Options": "nosniff"}
        return Response(content, media_type=FILE_TYPE, headers=headers)

    @app.post("/crewai/jobs/{job_id}/cancel", responses=_job(404, 409, 422, 503), tags=["jobs"])
    def cancel(caller: Admin, job_id: str, request: Request, response: Response) -> JobStatus:
        """End the job: at once if it is pending, before its next call if it is running."""
        return _status(intervention.cancel(caller.tenant, job_id), request, response)

    @app.post("/crewai/jobs/{job_id}/retry", responses=_job(404, 409, 422, 503), tags=["jobs"])
    def retry(caller: Admin, job_id: str, request: Request, response: Response) -> JobStatus:
        """Retry a failed job: it continues where its journal ends, and pays for no call twice."""
        return _status(intervention.retry(caller.tenant, job_id), request, response)

    @app.delete("/crewai/jobs/{job_id}", status_code=204, responses=problems(404, 409, 422, 503), tags=["jobs"])
    def delete(caller: Admin, job_id: str) -> None:
        """Delete a job that has ended: its row, input, journal and result. Its idempotency key may be used again."""
        intervention.delete(caller.tenant, job_id)

    @app.post("/crewai/jobs/{job_id}/resume", responses=_job(400, 404, 409, 413, 415, 422, 503), tags=["jobs"])
    def resume(caller: Starter, job_id: str, body: Resumption, request: Request, response: Response) -> JobStatus:
        """Answer the question that the job waits for: it goes on where it stopped. The first answer counts."""
        return _status(intervention.answer(caller.tenant, job_id, body.id, body.given()), request, response)

    app.include_router(webhook_routes(deliveries, batches, secrets, long_poll.clock))
    app.include_router(batch_routes(batches, long_poll.clock, long_poll.timeout))
    app.include_router(upload_routes(batches))

    app.routes.extend(protocol_routes(protocols, services, anonymous))

    @app.get("/crewai/crews", responses=problems(), tags=["crews"])
    def crews(_: Reader) -> Crews:
        """The crews of this deployment and their inputs, to be sent as `{"crew": name, "inputs": {…}}`."""
        return Crews(crews=[_card(name) for name in catalogue().names()])

    return app


def _card(name: str) -> CrewCard:
    try:
        return CrewCard.of(catalogue().card(name))
    except InvalidCrew as error:
        return CrewCard.faulty(name, str(error))


def _job(*statuses: int) -> Responses:
    """The documentation of a route that answers with a job: one that is under way comes with Retry-After."""
    return {200: {"headers": RETRY_AFTER}, **problems(*statuses)}


def _status(record: JobRecord, request: Request, response: Response) -> JobStatus:
    if not record.job.status.finished:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return JobStatus.of(record, file_urls(request, record.job.id))
