"""The routes of batches whose items come as a file of lines: create one, and have its upload read."""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import ClientDisconnect

from crewrelay.catalogue.request import permitted_url
from crewrelay.http.app import IdempotencyKey
from crewrelay.http.batch_items import digest_with
from crewrelay.http.batches import BatchStatus, batch_url
from crewrelay.http.callers import Starter
from crewrelay.http.document import LOCATION, operation_id, problems
from crewrelay.http.links import base_url, root_path
from crewrelay.jobs.access import Caller
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.errors import IdempotencyConflict, InvalidRequest, InvalidUpload
from crewrelay.jobs.records.batch import LARGEST_FILE, Batch, IncomingFile, UploadFiles, UploadState
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.webhook import STANDARD, Webhook
from crewrelay.outbound.guard import LONGEST_URL

_WebhookUrl = Annotated[
    Annotated[str, Field(max_length=LONGEST_URL), AfterValidator(permitted_url)] | None,
    Query(description="Is told when every item has ended: see docs/webhooks.md"),
]
_WebhookForm = Annotated[Literal["standard", "cloudevents"] | None, Query(description="Of its message")]
_LINES = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "application/jsonlines")
_WRITTEN = 1024 * 1024  # bytes of a body that are in memory
_BODY: dict[str, Any] = {
    "requestBody": {
        "description": "On one machine the lines: each a body of POST /crewai/run/async and a `custom_id`. On AWS none",
        "content": {_LINES[0]: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class BatchCreated(BaseModel):
    """201: the batch is committed. On AWS send a form of `upload_fields`, and the file as its last field `file`, to
    `upload_url`, before `upload_until`; then POST to `start_url`. On one machine the file is here already.
    """

    batch_id: str
    batch_url: str
    results_url: str
    state: UploadState
    upload_url: str | None
    upload_fields: dict[str, str] | None
    upload_until: datetime | None
    start_url: str

    @classmethod
    def of(cls, batch: Batch, files: UploadFiles, url: str) -> "BatchCreated":
        assert batch.upload
        form = files.form(batch) if batch.upload.state is UploadState.EXPECTED else None
        return cls(
            batch_id=batch.id,
            batch_url=url,
            results_url=f"{url}/results",
            state=batch.upload.state,
            upload_url=form and form.url,
            upload_fields=dict(form.fields) if form else None,
            upload_until=batch.upload.until if form else None,
            start_url=f"{url}/start",
        )


def upload_routes(batches: Batches) -> APIRouter:
    router = APIRouter(generate_unique_id_function=operation_id)

    @router.post(
        "/crewai/batches",
        status_code=201,
        response_model=BatchCreated,
        responses={201: {"headers": LOCATION}, **problems(400, 413, 415, 422, 429, 503)},
        openapi_extra=_BODY,
        tags=["batches"],
    )
    async def create_batch(
        caller: Starter,
        request: Request,
        response: Response,
        key: IdempotencyKey = None,
        webhook_url: _WebhookUrl = None,
        webhook_form: _WebhookForm = None,
    ) -> BatchCreated:
        """A batch of up to 100,000 lines in 200 MB: on AWS they are uploaded then, on one machine they are the body."""
        asked = _Asked(caller, key, _webhook(webhook_url, webhook_form))
        async with contextmanager_in_threadpool(batches.receiving(caller.tenant, key)):
            batch = await _created(request, batches, asked)
        response.headers["Location"] = f"{root_path(request)}/crewai/batches/{batch.id}"
        return await run_in_threadpool(BatchCreated.of, batch, batches.files, batch_url(request, batch))

    @router.post("/crewai/batches/{batch_id}/start", responses=problems(404, 422, 503), tags=["batches"])
    def start_batch(caller: Starter, batch_id: str, request: Request) -> BatchStatus:
        """Have the uploaded file read. A file whose sender does not say that it is there is found within minutes."""
        batch = batches.start(batches.of_tenant(caller.tenant, batch_id))
        return BatchStatus.of(batches, batch, batch_url(request, batch))

    return router


class _Asked(NamedTuple):
    caller: Caller
    key: str | None
    webhook: Webhook | None

    def batch(self, batches: Batches, digest: str, *, there: bool) -> Batch:
        """The same key with another webhook is another request."""
        whole = digest_with(digest, self.webhook) if self.webhook else digest
        return batches.of_file(self.caller, whole, self.key, there=there)

    def webhook_at(self, url: str) -> Webhook | None:
        return self.webhook and self.webhook.model_copy(update={"base_url": url})


def _webhook(url: str | None, form: str | None) -> Webhook | None:
    if url is None and form is not None:
        raise InvalidRequest("webhook_form: must stand beside webhook_url")
    return None if url is None else Webhook(url=url, events=(EventType.COMPLETED,), form=form or STANDARD)


async def _created(request: Request, batches: Batches, asked: _Asked) -> Batch:
    incoming = await run_in_threadpool(batches.files.receive)
    if incoming is None:
        return await _without_lines(request, batches, asked)
    try:
        return await _with_lines(request, incoming, batches, asked)
    finally:
        await run_in_threadpool(incoming.discard)


async def _without_lines(request: Request, batches: Batches, asked: _Asked) -> Batch:
    async for data in request.stream():
        if data.strip() not in (b"", b"{}"):
            raise InvalidRequest("body: must be empty: the answer has an upload_url, to which the lines are sent")
    batch = asked.batch(batches, "upload", there=False)
    return await run_in_threadpool(batches.commit, batch, asked.webhook_at(base_url(request)))


async def _with_lines(request: Request, incoming: IncomingFile, batches: Batches, asked: _Asked) -> Batch:
    digest = await _received(request, incoming)
    batch, webhook = asked.batch(batches, digest, there=True), asked.webhook_at(base_url(request))

    def committed() -> Batch:
        """After its file, which it says is there."""
        incoming.keep(batch)
        try:
            kept = batches.commit(batch, webhook)
        except IdempotencyConflict:
            batches.files.delete(batch)
            raise
        if kept.upload and kept.upload.state.over:  # the same request again, long after
            batches.files.delete(batch)
        return kept

    return await run_in_threadpool(committed)


async def _received(request: Request, incoming: IncomingFile) -> str:
    """The SHA-256 of the body. Raises HTTPException."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _LINES:
        raise HTTPException(415, "The body must be lines of JSON, with Content-Type: application/jsonl.")
    digest, size, buffer = hashlib.sha256(), 0, bytearray()
    try:
        async for data in request.stream():
            size += len(data)
            if size > LARGEST_FILE:
                raise HTTPException(413, f"The body is larger than {LARGEST_FILE:,} bytes.")
            digest.update(data)
            buffer += data
            if len(buffer) >= _WRITTEN:
                await run_in_threadpool(incoming.write, bytes(buffer))
                buffer.clear()
    except ClientDisconnect:
        raise HTTPException(400, "The body broke off.") from None
    if not size:
        raise InvalidUpload("The body is empty.")
    await run_in_threadpool(incoming.write, bytes(buffer))
    return digest.hexdigest()
