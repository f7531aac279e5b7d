"""The routes: kickoff, status, stop, resume."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.inputs import Inputs
from crewrelay.http.app import IdempotencyKey
from crewrelay.http.callers import Admin, Reader, Starter
from crewrelay.http.links import base_url, file_urls
from crewrelay.http.protocols.amp.receivers import resubscribed
from crewrelay.http.protocols.amp.requests import Kickoff, Resumption
from crewrelay.http.protocols.amp.status import STATES, status_of
from crewrelay.http.protocols.runs import checked
from crewrelay.http.services import Services
from crewrelay.http.wire import FileLink
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.errors import AlreadyAnswered, JobFinished, NotWaiting, UnknownCrew, UnknownJob
from crewrelay.jobs.ports import JobRecord, record_of_tenant
from crewrelay.jobs.records.webhook import Webhook


def _known(crew: str) -> str:
    if crew not in catalogue().names():
        raise UnknownCrew(f"There is no crew {crew}; this deployment has {', '.join(catalogue().names())}.")
    return crew


CrewName = Annotated[str, Depends(_known)]


def routes(services: Services) -> APIRouter:
    router = APIRouter(prefix="/amp/{crew}")

    def record_of(tenant: str, crew: str, job_id: str) -> JobRecord:
        record = record_of_tenant(services.store, tenant, job_id)
        if record.job.crew != crew:
            raise UnknownJob(f"There is no job {job_id}.")
        return record

    def subscribe(caller: Caller, record: JobRecord, webhooks: Sequence[Webhook]) -> None:
        if not webhooks:
            return
        subscriptions = services.deliveries.of(caller.tenant, record.job.id)
        for webhook in resubscribed(webhooks, subscriptions):
            caller.require(Scope.WEBHOOKS)
            services.deliveries.add(caller.tenant, record.job.id, webhook)

    @router.get("")
    @router.get("/")
    def health(_: Reader, crew: CrewName) -> PlainTextResponse:
        return PlainTextResponse("Healthy")

    @router.get("/inputs")
    def inputs(_: Reader, crew: CrewName) -> dict[str, Any]:
        return {"inputs": list(catalogue().card(crew).inputs.declared)}

    @router.post("/kickoff", response_model=None)
    def kickoff(
        caller: Starter, crew: CrewName, body: Kickoff, request: Request, key: IdempotencyKey = None
    ) -> dict[str, Any] | JSONResponse:
        webhooks = body.receivers(base_url(request))
        declared = catalogue().card(crew).inputs
        given = _given(declared, body.inputs or {})
        if missing := [name for name, one in declared.declared.items() if one.required and name not in given]:
            return _missing(missing)
        job_input = checked(caller, crew, given).model_copy(update={"webhooks": webhooks or None})
        job = services.submission.submit(caller.tenant, job_input, key)
        return {"kickoff_id": job.id}

    @router.get("/status/{kickoff_id}")
    def status(caller: Reader, crew: CrewName, kickoff_id: str, request: Request) -> dict[str, Any]:
        record = record_of(caller.tenant, crew, kickoff_id)
        shown = status_of(record, services.long_poll.clock())
        files = FileLink.all_of(record.answer, file_urls(request, kickoff_id))
        return shown | {"files": [file.model_dump() for file in files]}

    @router.post("/stop/{kickoff_id}", response_model=None)
    def stop(caller: Admin, crew: CrewName, kickoff_id: str) -> dict[str, Any] | JSONResponse:
        job = record_of(caller.tenant, crew, kickoff_id).job
        try:
            services.intervention.cancel(caller.tenant, kickoff_id)
        except JobFinished:
            state, _ = STATES[record_of_tenant(services.store, caller.tenant, job.id).job.status]
            detail = f"Cannot stop execution. Current state: {state}"
            return _error(400, "Invalid Request", detail, detail=detail)
        return {"status": "stopped", "kickoffId": job.id}

    @router.post("/resume", response_model=None)
    def resume(caller: Starter, crew: CrewName, body: Resumption, request: Request) -> dict[str, Any] | JSONResponse:
        webhooks = body.receivers(base_url(request))
        record = record_of(caller.tenant, crew, body.execution_id)
        question_id = record.job.question or ""
        if body.task_id not in (None, "", question_id, record.question and record.question.task):
            question_id = body.task_id or ""  # perhaps of an earlier question, to which this is the same answer again
        try:
            feedback = body.answer_to(record.question)
            if record.question and question_id == record.job.question:
                record.question.require_answer(feedback)
                subscribe(caller, record, webhooks)  # before anything that they are to be told of can happen
            services.intervention.answer(caller.tenant, record.job.id, question_id, feedback)
            subscribe(caller, record, webhooks)
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
