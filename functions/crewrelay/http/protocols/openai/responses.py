"""/v1/responses. A response that is not completed within the request is refused, and the repeated request waits on; one
in the background is answered at once, and read by its id.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from crewrelay.http.app import IdempotencyKey
from crewrelay.http.callers import Admin, Reader, Starter
from crewrelay.http.edge import received_at
from crewrelay.http.long_poll import looks
from crewrelay.http.protocols.openai.answers import RetryCount, answered, job_of
from crewrelay.http.protocols.openai.errors import refused
from crewrelay.http.protocols.openai.request import ResponseRequest
from crewrelay.http.protocols.openai.resource import input_items, job_id_of, response_of
from crewrelay.http.protocols.openai.stream import events_of, sent
from crewrelay.http.services import Services
from crewrelay.jobs.access import Scope
from crewrelay.jobs.errors import AnswerAwaited, JobFinished, RunFailed, StillRunning, UnknownJob
from crewrelay.jobs.ports import JobRecord, event_log_of, job_of_tenant, record_of_tenant
from crewrelay.jobs.records.events import Event
from crewrelay.jobs.records.job import Job

LARGEST_WINDOW = 1024 * 1024  # characters of events through Lambda, whose answers have at most 6 MB, escaped


def response_routes(services: Services) -> APIRouter:
    router = APIRouter()
    store, intervention, clock = services.store, services.intervention, services.long_poll.clock

    def streamed(request: Request, job: Job, after: int, end: datetime) -> Response:
        most = LARGEST_WINDOW if "aws.context" in request.scope else None
        events = _stream(services, job, after, end, most)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @router.post("/responses")
    async def create(
        caller: Starter,
        body: ResponseRequest,
        request: Request,
        key: IdempotencyKey = None,
        retries: RetryCount = "",
    ) -> Response:
        end = received_at(request, clock) + services.long_poll.timeout
        job_input = await run_in_threadpool(body.job_input, caller)
        job = await job_of(services, caller, job_input, key, retries)
        if body.background:
            if body.stream:
                return streamed(request, job, -1, end)
            return JSONResponse(response_of(await run_in_threadpool(record_of_tenant, store, job.tenant, job.id)))
        try:
            record = await answered(services, job, end)
        except (AnswerAwaited, RunFailed, StillRunning) as error:
            return refused(error)
        return streamed(request, record.job, -1, end) if body.stream else JSONResponse(response_of(record))

    @router.get("/responses/{response_id}")
    async def retrieve(
        caller: Reader,
        response_id: str,
        request: Request,
        stream: bool = False,
        starting_after: Annotated[int, Query(ge=-1, le=10**9)] = -1,
    ) -> Response:
        job_id = job_id_of(response_id)
        if stream:
            job = await run_in_threadpool(job_of_tenant, store, caller.tenant, job_id)
            return streamed(request, job, starting_after, received_at(request, clock) + services.long_poll.timeout)
        return JSONResponse(response_of(await run_in_threadpool(record_of_tenant, store, caller.tenant, job_id)))

    @router.get("/responses/{response_id}/input_items")
    def items(caller: Reader, response_id: str) -> JSONResponse:
        return JSONResponse(input_items(record_of_tenant(store, caller.tenant, job_id_of(response_id))))

    @router.post("/responses/{response_id}/cancel")
    def cancel(caller: Admin, response_id: str) -> JSONResponse:
        job_id = job_id_of(response_id)
        try:
            record = intervention.cancel(caller.tenant, job_id)
        except JobFinished:  # it is answered with as it ended
            caller.require(Scope.READ)
            record = record_of_tenant(store, caller.tenant, job_id)
        return JSONResponse(response_of(record))

    @router.delete("/responses/{response_id}")
    def delete(caller: Admin, response_id: str) -> JSONResponse:
        """An unfinished one is cancelled."""
        job_id = job_id_of(response_id)
        with suppress(JobFinished):
            intervention.cancel(caller.tenant, job_id)
        intervention.delete(caller.tenant, job_id)
        return JSONResponse({"id": response_id, "object": "response", "deleted": True})

    return router


async def _stream(services: Services, job: Job, after: int, end: datetime, most: int | None) -> AsyncIterator[str]:
    """The events that follow, until the job has ended, the time is over, or they have more than `most` characters."""
    log: list[Event] = []
    size = 0
    with suppress(UnknownJob):  # it was deleted meanwhile
        async with aclosing(looks(services.store, services.long_poll, job.tenant, job.id, end)) as seen:
            async for now, _ in seen:
                if now.log_from + len(now.log) - 1 <= len(log):
                    continue
                record, log = await run_in_threadpool(_read, services, now, log)
                for event in events_of(record, log):
                    if event["sequence_number"] > after:
                        if most is not None and size > most:
                            return
                        text, after = sent(event), event["sequence_number"]
                        size += len(text)
                        yield text


def _read(services: Services, job: Job, log: list[Event]) -> tuple[JobRecord, list[Event]]:
    """The job with its answer, and its log up to that moment."""
    record = record_of_tenant(services.store, job.tenant, job.id)
    return record, [*log, *event_log_of(services.store, record.job, len(log))]
