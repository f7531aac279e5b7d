"""GET /crewai/jobs/{job_id}/events: what has happened to a job, as JSON or as a stream of server-sent events.

A stream ends before the gateway's limit, and the client asks on from its last event. Through Lambda, whose answers are
sent when they are complete, it ends as soon as there is an event.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from crewrelay.http.callers import Reader
from crewrelay.http.document import operation_id, problems
from crewrelay.http.edge import received_at
from crewrelay.http.long_poll import LongPoll, looks
from crewrelay.jobs.errors import InvalidRequest, UnknownJob
from crewrelay.jobs.ports import JobStore, event_log_of, job_of_tenant
from crewrelay.jobs.records.events import Event, EventType
from crewrelay.jobs.records.job import Job, Status

_STREAM = "text/event-stream"
_MOST_EVENTS = 1000
_RETRY = 1000  # milliseconds until the client asks on


T = TypeVar("T")
IfKnown = Annotated[T | None, Field(exclude_if=lambda value: value is None)]  # left out where it says nothing


class JobEvent(BaseModel):
    """Fields that don't belong to this `event` are left out. `number` counts from 1 without gaps."""

    number: int
    at: datetime
    event: EventType
    fence: IfKnown[int] = None
    task: IfKnown[int] = None
    of: IfKnown[int] = None
    name: IfKnown[str] = None
    agent: IfKnown[str] = None
    kind: IfKnown[str] = None
    model: IfKnown[str] = None
    prompt_tokens: IfKnown[int] = None
    completion_tokens: IfKnown[int] = None
    cost_usd: IfKnown[float] = None
    seconds: IfKnown[float] = None
    error: IfKnown[str] = None

    @classmethod
    def of_event(cls, event: Event) -> "JobEvent":
        details: dict[str, Any] = {name: value for name, value in event.details.items() if name != "key"}
        return cls(number=event.number, at=event.at, event=event.what, **details)


class JobEvents(BaseModel):
    """The events after a number. Ask on with `after` = `last`; once `status` has ended and no events come, there are no
    more.
    """

    job_id: str
    status: Status
    last: int
    events: list[JobEvent]


def event_routes(store: JobStore, long_poll: LongPoll) -> APIRouter:
    router = APIRouter(generate_unique_id_function=operation_id)

    @router.get(
        "/crewai/jobs/{job_id}/events",
        response_model=JobEvents,
        responses={
            200: {"content": {_STREAM: {"schema": {"type": "string"}}}},
            204: {"description": "Of a stream: the job has ended, and there are no more events."},
            **problems(404, 422, 503),
        },
        tags=["jobs"],
    )
    async def events(
        caller: Reader,
        job_id: str,
        request: Request,
        after: Annotated[int, Query(ge=0, description="Return the events after this number.")] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST_EVENTS)] = 100,
        wait: Annotated[int, Query(ge=0, description="Seconds to wait for an event, if there is none yet.")] = 0,
        last_event_id: Annotated[str, Header(description="Of a stream: the number of the last event.")] = "",
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response | JobEvents:
        """What has happened: submission, claims, tasks, calls with their usage, questions, relays, the end. With
        `Accept: text/event-stream` as server-sent events.
        """
        received = received_at(request, long_poll.clock)
        if _STREAM in accept:
            after = _number(last_event_id) if last_event_id else after
            job = await run_in_threadpool(job_of_tenant, store, caller.tenant, job_id)
            if job.status.finished and after >= _last(job):
                return Response(status_code=204)
            buffered = "aws.context" in request.scope
            stream = _stream(store, long_poll, job, after, received + long_poll.timeout, until_any=buffered)
            return StreamingResponse(stream, media_type=_STREAM, headers={"Cache-Control": "no-store"})
        end = received + timedelta(seconds=long_poll.clamped(wait))
        async with aclosing(looks(store, long_poll, caller.tenant, job_id, end)) as seen:
            async for job, is_last in seen:
                if is_last or _last(job) > after:
                    break
        found = await run_in_threadpool(event_log_of, store, job, after)
        told = [JobEvent.of_event(event) for event in found[:limit]]
        return JobEvents(job_id=job.id, status=job.status, last=told[-1].number if told else after, events=told)

    return router


async def _stream(
    store: JobStore, long_poll: LongPoll, job: Job, after: int, end: datetime, *, until_any: bool
) -> AsyncIterator[str]:
    yield f"retry: {_RETRY}\n\n"
    with suppress(UnknownJob):  # it was deleted meanwhile
        async with aclosing(looks(store, long_poll, job.tenant, job.id, end)) as seen:
            async for now, _ in seen:
                if _last(now) <= after:
                    continue
                for event in (await run_in_threadpool(event_log_of, store, now, after))[:_MOST_EVENTS]:
                    after = event.number
                    data = JobEvent.of_event(event).model_dump_json()
                    yield f"id: {after}\nevent: {event.what}\ndata: {data}\n\n"
                if until_any:
                    return


def _last(job: Job) -> int:
    return job.log_from + len(job.log) - 1


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise InvalidRequest("Last-Event-ID: must be the number of an event.")
    return int(text)
