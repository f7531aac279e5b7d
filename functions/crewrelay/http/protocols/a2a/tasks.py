"""A job as A2A's task, in the JSON of 1.0."""

import mimetypes
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from crewrelay.http.protocols.runs import first_text
from crewrelay.http.wire import UrlOfFile
from crewrelay.jobs.errors import CrewrelayError
from crewrelay.jobs.ports import JobRecord, JobStore
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.journal import Kind
from crewrelay.jobs.records.questions import Feedback, Question

STATES = {
    Status.PENDING: "TASK_STATE_SUBMITTED",
    Status.RUNNING: "TASK_STATE_WORKING",
    Status.WAITING: "TASK_STATE_INPUT_REQUIRED",
    Status.COMPLETED: "TASK_STATE_COMPLETED",
    Status.FAILED: "TASK_STATE_FAILED",
    Status.CANCELLED: "TASK_STATE_CANCELED",
}
WORKING = STATES[Status.RUNNING]


def context_of(job: Job) -> str:
    return job.correlation_id or job.id


def state_of(job: Job) -> str:
    """A task does not go back to submitted when its job is relayed or retried."""
    return WORKING if job.status is Status.PENDING and job.started_at else STATES[job.status]


def changed_at(job: Job) -> datetime:
    """When the task came into its state."""
    return job.finished_at or job.asked_at or job.started_at or job.created_at


def task_of(job: Job, record: JobRecord | None, url_of: UrlOfFile, history: list[dict[str, Any]]) -> dict[str, Any]:
    """With a record the task has its artifacts, and its status a message."""
    task: dict[str, Any] = {"id": job.id, "contextId": context_of(job), "status": status_of(job, record)}
    if record and (artifacts := artifacts_of(record, url_of)):
        task["artifacts"] = artifacts
    if history:
        task["history"] = history
    return task


def status_of(job: Job, record: JobRecord | None) -> dict[str, Any]:
    """The message of a question has its id as metadata: an answer that names it can't be taken for another's."""
    status: dict[str, Any] = {"state": state_of(job), "timestamp": time(changed_at(job))}
    if said := _said(job, record.question if record else None):
        status["message"] = message_of(job, "status", said)
        if job.status is Status.WAITING:
            status["message"]["metadata"] = {"question": job.question}
    return status


def _said(job: Job, question: Question | None) -> str:
    if job.status is Status.WAITING and question:
        options = f"Options: {', '.join(question.options)}." if question.options else ""
        return "\n\n".join(part for part in (question.message, question.output, options) if part)
    return job.error.message if job.status is Status.FAILED and job.error else ""


def message_of(job: Job, name: str, text: str) -> dict[str, Any]:
    """A message of the agent. `name` is unique within the task, and tells nothing."""
    ids = {"messageId": f"{job.id}-{name}", "taskId": job.id, "contextId": context_of(job)}
    return ids | {"role": "ROLE_AGENT", "parts": [{"text": text}]}


def artifacts_of(record: JobRecord, url_of: UrlOfFile) -> list[dict[str, Any]]:
    """The answer, the passages that it cites, and each file that the crew wrote. An answer that is JSON comes as data,
    too; one without text is its files.
    """
    if record.answer_url:
        part = {"url": record.answer_url, "filename": "answer.json", "mediaType": "application/json"}
        return [_artifact("answer", part)]
    answer = record.answer
    if answer is None:
        return []
    files = list(_files(answer, url_of))
    said = [_artifact("answer", *_data(answer.text), {"text": answer.text, "mediaType": "text/plain"})]
    return [*(said if answer.text or not files else ()), *_sources(answer), *files]


def _artifact(name: str, *parts: Mapping[str, Any], artifact_id: str = "") -> dict[str, Any]:
    return {"artifactId": artifact_id or name, "name": name, "parts": list(parts)}


def _data(text: str) -> Iterable[dict[str, Any]]:
    if text.lstrip().startswith("{"):
        with suppress(ValueError):
            yield {"data": from_json(text, allow_inf_nan=False), "mediaType": "application/json"}


def _sources(answer: Answer) -> Iterable[dict[str, Any]]:
    if answer.sources:
        sources = [source.model_dump(mode="json", exclude={"excerpt"}) for source in answer.sources]
        yield _artifact("sources", {"data": {"sources": sources}, "mediaType": "application/json"})


def _files(answer: Answer, url_of: UrlOfFile) -> Iterable[dict[str, Any]]:
    """Their URLs need the token that reads the task."""
    for number, file in enumerate(answer.files, 1):
        if file.digest:
            name = file.name.rpartition("/")[2]
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            part = {"url": url_of(number), "filename": name, "mediaType": kind}
            yield _artifact(file.name, part, artifact_id=f"file-{number}")


def history_of(store: JobStore, record: JobRecord, most: int | None) -> list[dict[str, Any]]:
    """The last messages of the user: what began the task, and the answers to its questions, oldest first."""
    if most == 0:
        return []
    job = record.job
    parts = [_parts_of(record.input), *([{"text": each.option or each.text}] for each in answers_of(store, job))]
    ids = {"taskId": job.id, "contextId": context_of(job), "role": "ROLE_USER"}
    messages = [{"messageId": f"{job.id}-user-{number}", **ids, "parts": each} for number, each in enumerate(parts)]
    return messages if most is None else messages[-most:]


def answers_of(store: JobStore, job: Job) -> list[Feedback]:
    """What humans have answered, oldest first."""
    if job.question is None:
        return []
    calls = [call for call in store.journal(job) if call.kind is Kind.HUMAN]
    calls.sort(key=lambda call: call.at or job.created_at)
    return [Feedback.model_validate_json(call.reply.body) for call in calls]


def _parts_of(job_input: JobInput) -> list[dict[str, Any]]:
    """The inputs as a message would send them."""
    inputs = dict(job_input.inputs)
    try:
        text = inputs.pop(first_text(job_input.crew), None)
    except CrewrelayError:  # it takes no text, or is not deployed any more
        text = None
    parts: list[dict[str, Any]] = [{"text": text}] if text is not None else []
    return parts + ([{"data": inputs}] if inputs or not parts else [])


def time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
