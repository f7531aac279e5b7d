"""The tasks extension: a job as a task, from the moment that it is committed.

A crew that failed is a completed task whose result is an error. https://modelcontextprotocol.io/seps/2663-tasks-extension
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool

from crewrelay.http.protocols.mcp.envelope import MISSING_CAPABILITY, TASKS, Asked, RpcError
from crewrelay.http.protocols.mcp.results import feedback_of, form_of, progress, result_of
from crewrelay.jobs.access import Scope
from crewrelay.jobs.errors import JobFinished
from crewrelay.jobs.ports import record_of_tenant
from crewrelay.jobs.records.events import EventRow, events_of
from crewrelay.jobs.records.job import Job, Status

_POLL = 1000  # milliseconds
_STATUS = {
    Status.PENDING: "working",
    Status.RUNNING: "working",
    Status.WAITING: "input_required",
    Status.COMPLETED: "completed",
    Status.FAILED: "completed",
    Status.CANCELLED: "cancelled",
}


def created(job: Job) -> dict[str, Any]:
    """The answer of a tool whose job goes on."""
    return {"resultType": "task", **_task(job)}


async def get(asked: Asked) -> dict[str, Any]:
    task_id = _task_id(asked, Scope.READ)
    record = await run_in_threadpool(record_of_tenant, asked.services.store, asked.caller.tenant, task_id)
    task = _task(record.job)
    if task["status"] == "completed":
        return {**task, "result": {"resultType": "complete", **result_of(asked, record)}}
    if form := form_of(record):
        if asked.message.asks_humans:
            return {**task, "inputRequests": form}
        # No status says that it waits for another client.
        waits = "Waits for a human's answer, for which this client has no form: crew_answer takes it."
        return {**task, "status": "working", "statusMessage": waits}
    return task


async def update(asked: Asked) -> dict[str, Any]:
    """Answers the question that the task waits for. Other keys are ignored, as the extension has it."""
    task_id = _task_id(asked, Scope.RUN)
    responses = asked.message.mapping("inputResponses")
    await run_in_threadpool(give, asked, task_id, responses)
    return {}


def give(asked: Asked, job_id: str, responses: Mapping[str, Any]) -> None:
    """Raises UnknownJob, InvalidRequest, AlreadyAnswered, Unavailable."""
    job = record_of_tenant(asked.services.store, asked.caller.tenant, job_id).job
    if job.status is Status.WAITING and job.question and job.question in responses:
        feedback = feedback_of(responses[job.question])
        if feedback is not None:
            asked.services.intervention.answer(asked.caller.tenant, job_id, job.question, feedback)


async def cancel(asked: Asked) -> dict[str, Any]:
    task_id = _task_id(asked, Scope.ADMIN)
    with suppress(JobFinished):  # answered as if it had come in time
        await run_in_threadpool(asked.services.intervention.cancel, asked.caller.tenant, task_id)
    return {}


def _task_id(asked: Asked, needed: Scope) -> str:
    if not asked.message.knows_tasks:
        required: dict[str, Any] = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        raise RpcError(MISSING_CAPABILITY, f"The client must declare the extension {TASKS}.", required)
    asked.caller.require(needed)
    return asked.message.text("taskId")


def _task(job: Job) -> dict[str, Any]:
    events = events_of(job.created_at, [EventRow(job.log_from, job.log)])
    changed = events[-1].at if events else job.created_at
    return {
        "taskId": job.id,
        "status": _STATUS[job.status],
        "statusMessage": progress(job),
        "createdAt": job.created_at.isoformat(),
        "lastUpdatedAt": changed.isoformat(),
        "ttlMs": (job.expires_at - job.created_at) // timedelta(milliseconds=1),
        "pollIntervalMs": _POLL,
    }
