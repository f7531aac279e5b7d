"""The routes of batches: submit many jobs at once, see how far they are, fetch their results, cancel them."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from crewrelay.catalogue.drafts import Draft
from crewrelay.http.app import IdempotencyKey
from crewrelay.http.batch_items import BatchRequest, item_of
from crewrelay.http.callers import Admin, Reader, Starter
from crewrelay.http.document import LINK, LOCATION, operation_id, problems
from crewrelay.http.edge import received_at
from crewrelay.http.links import base_url, file_urls, root_path
from crewrelay.http.problems import FieldError, Problem, content_of, invalid
from crewrelay.http.wire import JobStatus
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.batches.wave import Submitted
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.ports import Clock, JobRecord
from crewrelay.jobs.records.batch import MOST_LINES, Batch, BatchItem, UploadState
from crewrelay.jobs.records.job import Failure, Status

# Bytes of lines after which an answer ends. The last line may be as long, and Lambda passes on 6 MB of escaped text.
_WINDOW = 1_000_000


class _Lines(Response):
    """https://jsonlines.org"""

    media_type = "application/jsonl"


class ItemOutcome(BaseModel):
    """An item became a job, or `problem` says why not. One of status 429 or 503 may pass: repeat the same request with
    the same Idempotency-Key.
    """

    index: int
    custom_id: str
    job_id: str | None
    status: Status | None
    problem: Problem | None

    @classmethod
    def of(cls, index: int, draft: Draft, item: BatchItem, submitted: Submitted | None) -> "ItemOutcome":
        wrong = "; ".join(f"{each['field']}: {each['message']}" for each in draft.errors)
        job, error = submitted or Submitted(error=InvalidRequest(wrong or item.rejection))
        fields = [FieldError.model_validate(each) for each in draft.errors]
        said = Problem.model_validate(content_of(error) | {"errors": fields}) if error else None
        return cls(
            index=index,
            custom_id=item.custom_id,
            job_id=job.id if job else None,
            status=job.status if job else None,
            problem=said,
        )


class BatchAccepted(BaseModel):
    """202: the batch is committed, `accepted` of its items are jobs. `batch_url` is `Location` as an absolute URL."""

    batch_id: str
    batch_url: str
    results_url: str
    accepted: int
    items: list[ItemOutcome]


class BatchCounts(BaseModel):
    """Items by state. `rejected` broke a rule, `missing` are no jobs: not submitted, or deleted."""

    total: int
    pending: int
    running: int
    waiting: int
    completed: int
    failed: int
    cancelled: int
    rejected: int
    missing: int


class BatchStatus(BaseModel):
    """`finished` once no job of the batch can change any more, but by a retry. `state` is how far its items were taken:
    those of a request are `submitted`. Until then `total` is what is known of a file, whose `bytes_read` of `bytes`
    were taken. `error` says why a file was refused.
    """

    batch_id: str
    state: UploadState
    finished: bool
    counts: BatchCounts
    bytes: int | None
    bytes_read: int | None
    error: Failure | None
    results_url: str
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, batches: Batches, batch: Batch, url: str) -> "BatchStatus":
        counts = batches.counts(batch)
        upload = batch.upload
        return cls(
            batch_id=batch.id,
            state=batch.state,
            finished=batch.state.over and all(status.finished for status in counts.jobs),
            counts=BatchCounts(**counts.of(batch)),
            bytes=upload.size if upload else None,
            bytes_read=upload.offset if upload else None,
            error=upload.error if upload else None,
            results_url=f"{url}/results",
            created_at=batch.created_at,
            expires_at=batch.expires_at,
        )


class BatchResult(BaseModel):
    """A line of the results: an item whose `job` has ended, or whose `rejection` says what was wrong with it. The text
    is in the job's `result` alone.
    """

    custom_id: str
    job: JobStatus | None
    rejection: str | None

    @classmethod
    def of(cls, item: BatchItem, record: JobRecord | None, request: Request) -> "BatchResult":
        job = JobStatus.of(record, file_urls(request, record.job.id)) if record else None
        job = job and job.model_copy(update={"answer": None})  # the same as its result
        return cls(custom_id=item.custom_id, job=job, rejection=item.rejection or None)


def batch_routes(batches: Batches, clock: Clock, timeout: timedelta) -> APIRouter:
    """`timeout`: after the gateway got a request, until its answer must be sent."""
    router = APIRouter(generate_unique_id_function=operation_id)

    @router.post(
        "/crewai/run/batch",
        status_code=202,
        response_model=BatchAccepted,
        responses={202: {"headers": LOCATION}, **problems(400, 413, 415, 422, 503)},
        tags=["batches"],
    )
    def submit_batch(
        caller: Starter, body: BatchRequest, request: Request, response: Response, key: IdempotencyKey = None
    ) -> Response | BatchAccepted:
        """Submit up to 1,000 jobs. The answer has an outcome for each item; if all are rejected, it is 422."""
        drafts = body.drafts(caller)
        if not any(draft.job_input for draft in drafts):
            return _all_rejected(drafts)
        url = base_url(request)
        items = [(item_of(draft), draft.job_input and draft.job_input.reached_at(url)) for draft in drafts]
        end = received_at(request, clock) + timeout
        own = body.own_webhook()
        webhook = own and own.model_copy(update={"base_url": url})
        batch, submitted = batches.submit(caller.tenant, items, body.digest(drafts), key, end, webhook)
        response.headers["Location"] = f"{root_path(request)}/crewai/batches/{batch.id}"
        outcomes = [
            ItemOutcome.of(number, draft, item, submitted.get(item.custom_id) if not item.rejection else None)
            for number, (draft, item) in enumerate(zip(drafts, batch.items, strict=True))
        ]
        return BatchAccepted(
            batch_id=batch.id,
            batch_url=batch_url(request, batch),
            results_url=f"{batch_url(request, batch)}/results",
            accepted=sum(outcome.job_id is not None for outcome in outcomes),
            items=outcomes,
        )

    @router.get("/crewai/batches/{batch_id}", responses=problems(404, 422, 503), tags=["batches"])
    def batch(caller: Reader, batch_id: str, request: Request) -> BatchStatus:
        """How far the batch is, counted from the rows of its jobs."""
        found = batches.of_tenant(caller.tenant, batch_id)
        return BatchStatus.of(batches, found, batch_url(request, found))

    @router.get(
        "/crewai/batches/{batch_id}/results",
        response_class=_Lines,
        responses={
            200: {
                "model": BatchResult,
                "headers": LINK,
                "description": "JSON Lines: one for each item that has ended",
            },
            **problems(404, 422, 503),
        },
        tags=["batches"],
    )
    def batch_results(
        caller: Reader,
        batch_id: str,
        request: Request,
        after: Annotated[int, Query(ge=0, le=MOST_LINES, description="Leave out so many items.")] = 0,
    ) -> Response:
        """The results so far as JSON Lines, by `custom_id`, in the order of the request, about 1 MB at once. `Link` has
        the address of the next lines, if there may be more.
        """
        found = batches.of_tenant(caller.tenant, batch_id)
        end = received_at(request, clock) + timeout
        lines, following = bytearray(), None
        for number, item, record in batches.ended(found, after):
            lines += BatchResult.of(item, record, request).model_dump_json().encode() + b"\n"
            if len(lines) > _WINDOW or clock() >= end:  # how many there are is not known while a file is read
                following = number + 1
                break
        headers = (
            {}
            if following is None
            else {"Link": f'<{batch_url(request, found)}/results?after={following}>; rel="next"'}
        )
        return _Lines(bytes(lines), headers=headers)

    @router.post("/crewai/batches/{batch_id}/cancel", responses=problems(404, 422, 503), tags=["batches"])
    def cancel_batch(caller: Admin, batch_id: str, request: Request) -> BatchStatus:
        """Cancel all jobs of the batch that have not ended, and submit no more. Repeat it if `finished` is still false.
        Of a file it takes a while.
        """
        found = batches.of_tenant(caller.tenant, batch_id)
        found = batches.cancel(found, received_at(request, clock) + timeout)
        return BatchStatus.of(batches, found, batch_url(request, found))

    return router


def batch_url(request: Request, batch: Batch) -> str:
    return f"{base_url(request)}/crewai/batches/{batch.id}"


def _all_rejected(drafts: list[Draft]) -> Response:
    named: list[dict[str, Any]] = [
        {"field": f"items.{number}.{error['field']}".rstrip("."), "message": error["message"]}
        for number, draft in enumerate(drafts)
        for error in draft.errors
    ]
    return invalid(named)
