"""The API of crews on CrewAI's platform, AMP, at /amp/{crew} for each crew. docs/clients.md says what differs.

Its document: https://docs.crewai.com/en/api-reference/introduction; its clients also read `state` and other fields.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import AliasChoices, AliasGenerator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.inputs import Inputs
from crewrelay.http.app import IdempotencyKey
from crewrelay.http.callers import Admin, Reader, Starter
from crewrelay.http.links import file_urls
from crewrelay.http.protocols.runs import checked
from crewrelay.http.services import Services
from crewrelay.http.wire import FileLink, JobProgress
from crewrelay.jobs.errors import AlreadyAnswered, InvalidRequest, JobFinished, NotWaiting, UnknownCrew, UnknownJob
from crewrelay.jobs.job import Job, Status
from crewrelay.jobs.ports import JobRecord, record_of_tenant
from crewrelay.jobs.questions import LONGEST_FEEDBACK, Feedback, Question

# `state`, which the platform's clients poll, and `status` of its document. A stopped execution has failed: they know no
# other end without a result.
_STATES = {
    Status.PENDING: ("PENDING", "running"),
    Status.RUNNING: ("RUNNING", "running"),
    Status.WAITING: ("RUNNING", "pending_human_input"),
    Status.COMPLETED: ("SUCCESS", "completed"),
    Status.FAILED: ("FAILED", "error"),
    Status.CANCELLED: ("FAILED", "error"),
}


def _known(crew: str) -> str:
    if crew not in catalogue().names():
        raise UnknownCrew(f"There is no crew {crew}; this deployment has {', '.join(catalogue().names())}.")
    return crew


CrewName = Annotated[str, Depends(_known)]


def _either_spelling(name: str) -> AliasChoices:
    return AliasChoices(name, to_camel(name))


class _Body(BaseModel):
    """Unknown fields are ignored, and names may be spelled in camelCase, as some clients do."""

    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=_either_spelling))

    task_webhook_url: Any = None
    step_webhook_url: Any = None
    crew_webhook_url: Any = None
    human_input_webhook: Any = None
    webhooks: Any = None

    def refuse_webhooks(self) -> None:
        """Raises InvalidRequest: a caller who waits to be called must not wait in vain."""
        for name in _Body.model_fields:
            if getattr(self, name):
                raise InvalidRequest(f"{to_camel(name)}: is not served here; leave it out, and ask for the status.")


class Kickoff(_Body):
    inputs: dict[str, Any] | None = None


class Resumption(_Body):
    execution_id: Annotated[str, Field(max_length=100)]
    task_id: Annotated[str, Field(max_length=1000)] | None = None
    human_feedback: Annotated[str, Field(max_length=LONGEST_FEEDBACK)] | None = None
    is_approve: bool | None = None

    def answer_to(self, question: Question | None) -> Feedback:
        """Approval, or what to change. Where one of several options must be chosen, the feedback is that one."""
        text = (self.human_feedback or "").strip()
        if not text and not self.is_approve:
            raise InvalidRequest("human_feedback: must say what to change, unless is_approve is true")
        option = text if question and question.must_choose else None
        return Feedback(text="" if option else text, option=option, accepted=bool(self.is_approve))


def routes(services: Services) -> APIRouter:
    router = APIRouter(prefix="/amp/{crew}")

    def record_of(tenant: str, crew: str, job_id: str) -> JobRecord:
        record = record_of_tenant(services.store, tenant, job_id)
        if record.job.crew != crew:
            raise UnknownJob(f"There is no job {job_id}.")
        return record

    @router.get("")
    @router.get("/")
    def health(_: Reader, crew: CrewName) -> PlainTextResponse:
        return PlainTextResponse("Healthy")

    @router.get("/inputs")
    def inputs(_: Reader, crew: CrewName) -> dict[str, Any]:
        return {"inputs": list(catalogue().card(crew).inputs.declared)}

    @router.post("/kickoff", response_model=None)
    def kickoff(
        caller: Starter, crew: CrewName, body: Kickoff, key: IdempotencyKey = None
    ) -> dict[str, Any] | JSONResponse:
        body.refuse_webhooks()
        declared = catalogue().card(crew).inputs
        given = _given(declared, body.inputs or {})
        if missing := [name for name, one in declared.declared.items() if one.required and name not in given]:
            return _missing(missing)
        job = services.submission.submit(caller.tenant, checked(caller, crew, given), key)
        return {"kickoff_id": job.id}

    @router.get("/status/{kickoff_id}")
    def status(caller: Reader, crew: CrewName, kickoff_id: str, request: Request) -> dict[str, Any]:
        record = record_of(caller.tenant, crew, kickoff_id)
        shown = _status(record, services.long_poll.clock())
        files = FileLink.all_of(record.answer, file_urls(request, kickoff_id))
        return shown | {"files": [file.model_dump() for file in files]}

    @router.post("/stop/{kickoff_id}", response_model=None)
    def stop(caller: Admin, crew: CrewName, kickoff_id: str) -> dict[str, Any] | JSONResponse:
        job = record_of(caller.tenant, crew, kickoff_id).job
        try:
            services.intervention.cancel(caller.tenant, kickoff_id)
        except JobFinished:
            state, _ = _STATES[record_of_tenant(services.store, caller.tenant, job.id).job.status]
            detail = f"Cannot stop execution. Current state: {state}"
            return _error(400, "Invalid Request", detail, detail=detail)
        return {"status": "stopped", "kickoffId": job.id}

    @router.post("/resume", response_model=None)
    def resume(caller: Starter, crew: CrewName, body: Resumption) -> dict[str, Any] | JSONResponse:
        body.refuse_webhooks()
        record = record_of(caller.tenant, crew, body.execution_id)
        question_id = record.job.question or ""
        if body.task_id not in (None, "", question_id, record.question and record.question.task):
            question_id = body.task_id or ""  # perhaps of an earlier question, to which this is the same answer again
        try:
            feedback = body.answer_to(record.question)
            services.intervention.answer(caller.tenant, record.job.id, question_id, feedback)
        except NotWaiting:
            return _error(400, "Invalid Request", "The execution does not wait for feedback to this task.")
        except AlreadyAnswered:
            return _error(400, "Invalid Request", "The execution has other feedback to this task already.")
        if body.is_approve:
            return {"status": "resumed", "message": "The execution goes on."}
        return {"status": "retrying", "message": "The task is done again with the feedback."}

    return router


def refusal(problem: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "error": problem["title"],
        "message": f"{problem['detail']} {problem['remedy']}",
        "code": problem["type"].rpartition(":")[2],
    }


def _error(status: int, error: str, message: str, **more: Any) -> JSONResponse:
    return JSONResponse({"error": error, "message": message, **more}, status)


def _missing(names: list[str]) -> JSONResponse:
    message = f"Missing required inputs: {', '.join(names)}"
    return _error(422, "Validation Error", message, details={"missing_inputs": names})


def _given(inputs: Inputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """Without what CrewAI ignores: inputs that the crew does not have, and null for one that can't be null."""
    kept = {}
    for name, value in given.items():
        declared = inputs.declared.get(name)
        takes_null = declared is None or declared.nullable or declared.type == "any"
        if (declared or inputs.open) and (value is not None or takes_null):
            kept[name] = value
    return kept


def _status(record: JobRecord, now: datetime) -> dict[str, Any]:
    job, answer = record.job, record.answer
    state, status = _STATES[job.status]
    progress = JobProgress.of(job.progress)
    result = answer.text if answer else None
    if record.answer_url:
        result = f"The result is too large to be shown here: fetch it within an hour at {record.answer_url}"
    return {
        "kickoff_id": job.id,
        "state": state,
        "status": status,
        "current_task": None if job.status.finished else progress.current_task,
        "progress": {"completed_tasks": progress.completed_tasks, "total_tasks": progress.total_tasks},
        "result": result,
        "result_json": _as_json(answer.text) if answer else None,
        "result_url": record.answer_url,
        "sources": [source.model_dump() for source in answer.sources] if answer else [],
        "last_step": None,
        "last_executed_task": _last_task(progress, result) if job.status is Status.COMPLETED else None,
        "pending_human_input": _asked(record),
        "error": _failure(job),
        "execution_time": _seconds(job, now),
    }


def _last_task(progress: JobProgress, output: str | None) -> dict[str, Any]:
    return {
        "name": progress.current_task,
        "agent": progress.current_agent,
        "output": output,
        "description": None,
        "expected_output": None,
    }


def _asked(record: JobRecord) -> dict[str, Any] | None:
    """What /resume answers: with this `task_id`, a repeated answer is never taken for one to a later question."""
    question = record.question
    if record.job.status is not Status.WAITING or question is None:
        return None
    shown = question.model_dump(include={"message", "task", "output", "default"})
    return {"task_id": record.job.question, **shown, "options": list(question.options)}


def _failure(job: Job) -> str | None:
    if job.status is Status.CANCELLED:
        return "The execution was stopped."
    return job.error.message if job.status is Status.FAILED and job.error else None


def _seconds(job: Job, now: datetime) -> float | None:
    return round(max(0.0, ((job.finished_at or now) - job.started_at).total_seconds()), 1) if job.started_at else None


def _as_json(text: str) -> Any:
    """The object or list that the text is, if it is one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None
