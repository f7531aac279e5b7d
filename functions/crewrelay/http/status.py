"""GET /crewai/status/{job_id}: at once, or when the job has changed. A caller who waits holds no thread."""

import hashlib
from collections.abc import Collection
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from crewrelay.http.callers import Reader
from crewrelay.http.document import ETAG, PREFERENCE, RETRY_AFTER, operation_id, problems
from crewrelay.http.edge import received_at
from crewrelay.http.links import file_urls
from crewrelay.http.long_poll import LongPoll, looks
from crewrelay.http.problems import RETRY_SECONDS
from crewrelay.http.wire import JobReceipt, JobStatus, Timestamps
from crewrelay.jobs.ports import JobStore, record_of_tenant
from crewrelay.jobs.records.job import Job


def etag_of(job: Job) -> str:
    """Changes with whatever a status shows, and not with what it doesn't, such as leases."""
    shown = (
        job.status,
        job.attempts,
        job.error,
        job.question,
        job.progress,
        JobReceipt.of(job),
        Timestamps.model_validate(job, from_attributes=True),
    )
    return f'W/"{hashlib.sha256(repr(shown).encode()).hexdigest()[:32]}"'


def status_routes(store: JobStore, long_poll: LongPoll) -> APIRouter:
    router = APIRouter(generate_unique_id_function=operation_id)

    @router.get(
        "/crewai/status/{job_id}",
        response_model=JobStatus,
        responses={
            200: {"headers": RETRY_AFTER | ETAG | PREFERENCE},
            304: {"description": "The job is as If-None-Match says.", "headers": RETRY_AFTER | ETAG | PREFERENCE},
            **problems(404, 422, 503),
        },
        tags=["jobs"],
    )
    async def status(
        caller: Reader,
        job_id: str,
        request: Request,
        response: Response,
        wait: Annotated[int, Query(ge=0, description="Seconds to wait for a change of an unfinished job.")] = 0,
        known: Annotated[str, Header(alias="If-None-Match", description="The ETag of an earlier status.")] = "",
    ) -> Response | JobStatus:
        """The job as it is now, with its result once it has one. With `wait`, the answer comes once it has changed:
        since the status of `If-None-Match`, or since the request.
        """
        seen = {tag.strip().removeprefix("W/") for tag in known.split(",") if tag.strip()}
        headers: dict[str, str] = {}
        if wait or seen:
            seconds = long_poll.clamped(wait)
            end = received_at(request, long_poll.clock) + timedelta(seconds=seconds)
            job = await _changed(store, long_poll, caller.tenant, job_id, seen, end)
            if wait:
                headers["Preference-Applied"] = f"wait={seconds}"
            if _known(job, seen):
                return Response(status_code=304, headers=headers | _headers(job, again=0 if wait else RETRY_SECONDS))
        record = await run_in_threadpool(record_of_tenant, store, caller.tenant, job_id)
        headers |= _headers(record.job, again=0 if wait else RETRY_SECONDS)
        if record.answer_url:
            del headers["ETag"]  # the URL expires though the job stays as it is
        response.headers.update(headers)
        return JobStatus.of(record, file_urls(request, job_id))

    return router


async def _changed(
    store: JobStore, long_poll: LongPoll, tenant: str, job_id: str, known: Collection[str], end: datetime
) -> Job:
    """The job once it has ended or is not as known, or at the end of the time."""
    async with aclosing(looks(store, long_poll, tenant, job_id, end)) as seen:
        async for job, is_last in seen:
            known = known or {etag_of(job).removeprefix("W/")}
            if is_last or not _known(job, known):
                break
    return job


def _known(job: Job, tags: Collection[str]) -> bool:
    """https://www.rfc-editor.org/rfc/rfc9110#name-if-none-match"""
    return "*" in tags or etag_of(job).removeprefix("W/") in tags


def _headers(job: Job, again: int) -> dict[str, str]:
    return {"ETag": etag_of(job)} | ({} if job.status.finished else {"Retry-After": str(again)})
