"""A job as OpenAI's Response."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from crewrelay.http.protocols.runs import first_text
from crewrelay.http.waiting import Waiting
from crewrelay.jobs.errors import CrewrelayError, UnknownJob
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import Job, Status

_STATUS = {Status.PENDING: "queued", Status.RUNNING: "in_progress", Status.WAITING: "in_progress"}
_CITED = re.compile(r"\[(\d{1,9})\]")
# A crew has its own models and tools. The schema of Open Responses requires these fields.
_NOT_OURS: Mapping[str, Any] = {
    "incomplete_details": None,
    "previous_response_id": None,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "truncation": "disabled",
    "text": {"format": {"type": "text"}},
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "reasoning": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "service_tier": "default",
    "safety_identifier": None,
    "prompt_cache_key": None,
}


def response_id(job: Job) -> str:
    return f"resp_{job.id.replace('-', '')}"


def job_id_of(response_id: str) -> str:
    """Raises UnknownJob."""
    try:
        return str(uuid.UUID(hex=response_id.removeprefix("resp_")))
    except ValueError:
        raise UnknownJob("There is no such response.") from None


def response_of(record: JobRecord) -> dict[str, Any]:
    job = record.job
    response = begun(record) | {"status": _STATUS.get(job.status, job.status.value), "usage": _usage(record)}
    if job.status is Status.COMPLETED:
        response |= {"output": [message_of(record)], "completed_at": _seconds(job.finished_at)}
    if job.status is Status.FAILED and job.error:
        response["error"] = {"code": "server_error", "message": job.error.message}
    if waiting := Waiting.of(record):
        response["waiting"] = waiting.model_dump(mode="json")
    return response


def begun(record: JobRecord, status: str = "queued") -> dict[str, Any]:
    """What it is from the beginning. It runs and is kept whether a client waits for it or not."""
    text = _text_input(record)
    others = {name: value for name, value in record.input.inputs.items() if name != text}
    return {
        "id": response_id(record.job),
        "object": "response",
        "created_at": _seconds(record.job.created_at),
        "completed_at": None,
        "status": status,
        "background": True,
        "store": True,
        "model": record.input.crew,
        "instructions": others.get("instructions"),
        "metadata": {name: _as_text(value) for name, value in others.items()},
        "output": [],
        "error": None,
        "usage": None,
        **_NOT_OURS,
    }


def message_of(record: JobRecord) -> dict[str, Any]:
    text = text_of(record)
    annotations = list(annotations_of(text, record.answer)) if record.answer else []
    content = {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}
    return message(record.job, "completed") | {"content": [content]}


def message(job: Job, status: str) -> dict[str, Any]:
    number = job.id.replace("-", "")
    return {"id": f"msg_{number}", "type": "message", "status": status, "role": "assistant", "content": []}


def text_of(record: JobRecord) -> str:
    if record.answer is None:
        return f"The answer is too large for this protocol: GET /crewai/status/{record.job.id} has its result_url."
    return record.answer.text


def annotations_of(text: str, answer: Answer) -> Iterator[dict[str, Any]]:
    """Each `[n]` with its source, from the index of its bracket to the one after it, in characters."""
    sources = {source.number: source for source in answer.sources}
    for cited in _CITED.finditer(text):
        if source := sources.get(int(cited[1])):
            title, url = source.title, source.url
            start, end = cited.span()
            yield {"type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end}


def input_items(record: JobRecord) -> dict[str, Any]:
    text = record.input.inputs.get(_text_input(record) or "", "")
    item = message(record.job, "completed") | {"role": "user", "content": [{"type": "input_text", "text": text}]}
    item["id"] = f"{item['id']}_input"
    return {"object": "list", "data": [item], "first_id": item["id"], "last_id": item["id"], "has_more": False}


def _text_input(record: JobRecord) -> str | None:
    """None: the job was not started here, or its crew has changed since."""
    try:
        return first_text(record.input.crew)
    except CrewrelayError:
        return None


def tokens_of(record: JobRecord) -> tuple[int, int]:
    """Of the prompts and the replies."""
    spent = record.answer.usage if record.answer else record.job.receipt
    return spent.prompt_tokens, spent.completion_tokens


def _usage(record: JobRecord) -> dict[str, Any] | None:
    if not record.job.status.finished:
        return None
    asked, answered = tokens_of(record)
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + answered,
    }


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
