"""A job as the result of a tool, and its question as a form that a client shows to a human."""

from collections.abc import Mapping
from typing import Any

from crewrelay.http.links import file_urls
from crewrelay.http.protocols.mcp.envelope import Asked
from crewrelay.http.waiting import Waiting
from crewrelay.http.wire import FileLink
from crewrelay.jobs.errors import CrewrelayError, InvalidRequest
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.questions import LONGEST_FEEDBACK, Feedback

_TEXT: Mapping[str, Any] = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
# Of every tool's structuredContent.
OUTPUT: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "job_id": _TEXT,
        "status": {"type": "string", "enum": [status.value for status in Status]},
        "answer": {**_TEXT_OR_NULL, "description": "Once the status is completed"},
        "answer_url": {**_TEXT_OR_NULL, "description": "Where an answer over 1 MB is"},
        "sources": {
            "type": "array",
            "description": "The passages that the answer cites as [number]",
            "items": {
                "type": "object",
                "properties": {"number": {"type": "integer"}, "title": _TEXT, "url": _TEXT, "excerpt": _TEXT},
            },
        },
        "files": {"type": "array", "description": "Those that the crew wrote", "items": {"type": "object"}},
        "usage": {"type": ["object", "null"], "description": "Calls, tokens and cost of the models"},
        "error": {**_TEXT_OR_NULL, "description": "Why the job failed"},
        "question": {"type": ["object", "null"], "description": "What the job waits for: pass it to a human"},
    },
    "required": ["job_id", "status"],
}


def result_of(asked: Asked, record: JobRecord) -> dict[str, Any]:
    job, answer, question = record.job, record.answer, Waiting.of(record)
    sources = answer.sources if answer else ()
    structured = {
        "job_id": job.id,
        "status": job.status.value,
        "answer": answer.text if answer else None,
        "answer_url": record.answer_url,
        "sources": [source.model_dump(include={"number", "title", "url", "excerpt"}) for source in sources],
        "files": [file.model_dump() for file in FileLink.all_of(answer, file_urls(asked.request, job.id))],
        "usage": answer.usage.model_dump(mode="json", exclude={"by_model"}) if answer else None,
        "error": job.error.message if job.status is Status.FAILED and job.error else None,
        "question": question.model_dump(mode="json") if question else None,
    }
    failed = job.status in (Status.FAILED, Status.CANCELLED)
    return {**_said(_text(record)), "structuredContent": structured, "isError": failed}


def refused(error: CrewrelayError) -> dict[str, Any]:
    """What a model can read and mend."""
    return {**_said(f"{error} {error.remedy}"), "isError": True}


def _said(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


def _text(record: JobRecord) -> str:
    job, answer = record.job, record.answer
    match job.status:
        case Status.COMPLETED if answer:
            cited = [f"[{source.number}] {source.title} {source.url}".rstrip() for source in answer.sources]
            return "\n".join([answer.text, *(["", "Sources:"] if cited else []), *cited])
        case Status.COMPLETED:
            return f"The answer is too large to be sent here: fetch it from {record.answer_url}"
        case Status.FAILED:
            return job.error.message if job.error else "The job failed."
        case Status.CANCELLED:
            return "The job was cancelled."
        case Status.WAITING:
            asks = record.question.message if record.question else ""
            return f"Job {job.id} waits for a human's answer: {asks}\nSend what the human says with crew_answer."
        case _:
            return f"{progress(job)} The job is still running: call crew_result with job_id {job.id} for its answer."


def progress(job: Job) -> str:
    known = job.progress
    if job.status is Status.PENDING or not known.begun:
        return "Accepted."
    agent = f" ({known.agent})" if known.agent else ""
    return f"Task {known.begun} of {max(known.total, known.begun)}: {known.task}{agent}."


def form_of(record: JobRecord) -> dict[str, Any]:
    """The question as input requests, by its id; none if the job does not wait."""
    job, question = record.job, record.question
    if job.status is not Status.WAITING or not job.question or question is None:
        return {}
    properties: dict[str, Any] = {}
    if question.options:
        properties["option"] = {"type": "string", "enum": list(question.options)}
    if not question.must_choose:
        properties["feedback"] = {"type": "string", "maxLength": LONGEST_FEEDBACK}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if question.must_choose:
        schema["required"] = ["option"]
    message = "\n\n".join(part for part in (question.message, question.output) if part)
    form = {"mode": "form", "message": message, "requestedSchema": schema}
    return {job.question: {"method": "elicitation/create", "params": form}}


def feedback_of(response: Any) -> Feedback | None:
    """What a human entered into the form. None if they closed or declined it: then the question stays open. Raises
    InvalidRequest.
    """
    if not isinstance(response, dict) or response.get("action") not in ("accept", "decline", "cancel"):
        raise InvalidRequest("inputResponses: must have an action, which is accept, decline or cancel.")
    if response["action"] != "accept":
        return None
    content = response.get("content")
    given = content if isinstance(content, dict) else {}
    option, text = given.get("option"), given.get("feedback")
    if not isinstance(option, str | None) or not isinstance(text, str | None):
        raise InvalidRequest("inputResponses: option and feedback must be strings.")
    if len(text or "") > LONGEST_FEEDBACK or len(option or "") > LONGEST_FEEDBACK:
        raise InvalidRequest(f"inputResponses: must not be longer than {LONGEST_FEEDBACK:,} characters.")
    return Feedback(text=text or "", option=option)
