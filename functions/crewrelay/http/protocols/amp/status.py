"""How an execution is, in the words of the platform: `state` and `status`, its result, the question that it asks."""

import json
from datetime import datetime
from typing import Any

from crewrelay.http.wire import JobProgress
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.job import Job, Status

# `state`, which the platform's clients poll, and `status` of its document. A stopped execution has failed: they know no
# other end without a result.
STATES = {
    Status.PENDING: ("PENDING", "running"),
    Status.RUNNING: ("RUNNING", "running"),
    Status.WAITING: ("RUNNING", "pending_human_input"),
    Status.COMPLETED: ("SUCCESS", "completed"),
    Status.FAILED: ("FAILED", "error"),
    Status.CANCELLED: ("FAILED", "error"),
}


def status_of(record: JobRecord, now: datetime) -> dict[str, Any]:
    job, answer = record.job, record.answer
    state, status = STATES[job.status]
    progress = JobProgress.of(job.progress)
    result = result_of(record, f"within an hour at {record.answer_url}")
    return {
        "kickoff_id": job.id,
        "state": state,
        "status": status,
        "current_task": None if job.status.finished else progress.current_task,
        "progress": {"completed_tasks": progress.completed_tasks, "total_tasks": progress.total_tasks},
        "result": result,
        "result_json": as_json(answer.text) if answer else None,
        "result_url": record.answer_url,
        "sources": [source.model_dump() for source in answer.sources] if answer else [],
        "last_step": None,
        "last_executed_task": _last_task(progress, result) if job.status is Status.COMPLETED else None,
        "pending_human_input": asked(record),
        "error": failure(job),
        "execution_time": _seconds(job, now),
    }


def result_of(record: JobRecord, where: str) -> str | None:
    """Its text, or that it is to be fetched there."""
    if record.answer_url:
        return f"The result is too large to be shown here: fetch it {where}"
    return record.answer.text if record.answer else None


def _last_task(progress: JobProgress, output: str | None) -> dict[str, Any]:
    return {
        "name": progress.current_task,
        "agent": progress.current_agent,
        "output": output,
        "description": None,
        "expected_output": None,
    }


def asked(record: JobRecord) -> dict[str, Any] | None:
    """What /resume answers: with this `task_id`, a repeated answer is never taken for one to a later question."""
    question = record.question
    if record.job.status is not Status.WAITING or question is None:
        return None
    shown = question.model_dump(include={"message", "task", "output", "default"})
    return {"task_id": record.job.question, **shown, "options": list(question.options)}


def failure(job: Job) -> str | None:
    if job.status is Status.CANCELLED:
        return "The execution was stopped."
    return job.error.message if job.status is Status.FAILED and job.error else None


def _seconds(job: Job, now: datetime) -> float | None:
    return round(max(0.0, ((job.finished_at or now) - job.started_at).total_seconds()), 1) if job.started_at else None


def as_json(text: str) -> Any:
    """The object or list that the text is, if it is one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None
