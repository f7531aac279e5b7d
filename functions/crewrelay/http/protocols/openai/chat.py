"""/v1/chat/completions, which can't hand over: a request whose crew is still at work is refused, and the client's own
repetition waits on for the same job.
"""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from crewrelay.http.app import IdempotencyKey
from crewrelay.http.callers import Starter
from crewrelay.http.edge import received_at
from crewrelay.http.protocols.openai.answers import RetryCount, answered, job_of
from crewrelay.http.protocols.openai.errors import refused
from crewrelay.http.protocols.openai.request import ChatRequest
from crewrelay.http.protocols.openai.resource import annotations_of, text_of, tokens_of
from crewrelay.http.services import Services
from crewrelay.jobs.errors import AnswerAwaited, RunFailed, StillRunning
from crewrelay.jobs.ports import JobRecord


def chat_routes(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/chat/completions")
    async def complete(
        caller: Starter,
        body: ChatRequest,
        request: Request,
        key: IdempotencyKey = None,
        retries: RetryCount = "",
    ) -> Response:
        end = received_at(request, services.long_poll.clock) + services.long_poll.timeout
        job_input = await run_in_threadpool(body.job_input, caller)
        job = await job_of(services, caller, job_input, key, retries)
        try:
            record = await answered(services, job, end)
        except (AnswerAwaited, RunFailed, StillRunning) as error:
            return refused(error)
        if body.stream:
            chunks = _chunks(record, with_usage=body.wants_usage)
            return StreamingResponse(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        choice = {"index": 0, "message": _message(record), "finish_reason": "stop", "logprobs": None}
        return JSONResponse({**_head(record, "chat.completion"), "choices": [choice], "usage": _usage(record)})

    return router


def _chunks(record: JobRecord, *, with_usage: bool) -> Iterator[str]:
    def sent(choices: list[dict[str, Any]], **more: Any) -> str:
        chunk = {**_head(record, "chat.completion.chunk"), "choices": choices, **more}
        return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"

    yield sent([{"index": 0, "delta": _message(record), "finish_reason": None}])
    yield sent([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    if with_usage:
        yield sent([], usage=_usage(record))
    yield "data: [DONE]\n\n"


def _head(record: JobRecord, kind: str) -> dict[str, Any]:
    job = record.job
    number = job.id.replace("-", "")
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": int(job.created_at.timestamp()),
        "model": record.input.crew,
    }


def _message(record: JobRecord) -> dict[str, Any]:
    text = text_of(record)
    found = annotations_of(text, record.answer) if record.answer else ()
    cited = [{"type": each.pop("type"), "url_citation": each} for each in found]
    return {"role": "assistant", "content": text, "refusal": None, "annotations": cited}


def _usage(record: JobRecord) -> dict[str, int]:
    asked, answered = tokens_of(record)
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
