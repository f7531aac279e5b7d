"""The tools: one for each crew, and those that submit, read, answer and cancel a job.

A crew that does not end within the request goes on: its tool says so, and crew_result fetches the answer.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.definition import Card
from crewrelay.catalogue.request import complaints
from crewrelay.http.protocols.mcp.envelope import INVALID_PARAMS, Asked, RpcError
from crewrelay.http.protocols.mcp.results import OUTPUT, form_of, refused, result_of
from crewrelay.http.protocols.mcp.tasks import created, give
from crewrelay.http.protocols.runs import checked, ended
from crewrelay.http.waiting import Resumption
from crewrelay.jobs.access import Scope
from crewrelay.jobs.errors import CrewrelayError, InvalidCrew, InvalidRequest, UnknownJob
from crewrelay.jobs.ports import job_of_tenant, record_of_tenant
from crewrelay.jobs.records.job import Job

KEY = "crewrelay/idempotencyKey"  # in `_meta`
_AT_ONCE = timedelta(seconds=1)  # a crew that ends within this time is no task
_MENDABLE = (404, 409, 422, 429)  # statuses of errors that a model can do something about
_LONGEST_KEY = 255
B = TypeVar("B", bound=BaseModel)


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Submission(_Arguments):
    crew: Annotated[str, Field(description="The name of a crew, which is that of its tool")]
    inputs: Annotated[dict[str, Any], Field(description="What the tool of the crew takes as arguments")]


class _JobId(_Arguments):
    job_id: Annotated[str, Field(description="As crew_submit or the tool of a crew told it")]


class _Reply(Resumption):
    """Feedback, one of the question's options, or both. An empty feedback accepts the output as it is."""

    model_config = ConfigDict(json_schema_extra={})

    job_id: Annotated[str, Field(description="The job that waits")]
    id: Annotated[str, Field(max_length=100, description="The id of its question")]


class _Tool(NamedTuple):
    description: str
    arguments: type[BaseModel]
    scope: Scope
    run: Callable[[Asked, Any], Awaitable[dict[str, Any]]]
    hints: Mapping[str, bool]


async def _submit(asked: Asked, given: _Submission) -> dict[str, Any]:
    job = await run_in_threadpool(_started, asked, given.crew, given.inputs)
    return await _result(asked, job)


async def _read(asked: Asked, given: _JobId) -> dict[str, Any]:
    job = await run_in_threadpool(job_of_tenant, asked.services.store, asked.caller.tenant, given.job_id)
    return result_of(asked, await ended(asked.services, job, asked.end))


async def _answer(asked: Asked, given: _Reply) -> dict[str, Any]:
    answer, tenant = asked.services.intervention.answer, asked.caller.tenant
    return result_of(asked, await run_in_threadpool(answer, tenant, given.job_id, given.id, given.given()))


async def _cancel(asked: Asked, given: _JobId) -> dict[str, Any]:
    cancelled = await run_in_threadpool(asked.services.intervention.cancel, asked.caller.tenant, given.job_id)
    return {**result_of(asked, cancelled), "isError": False}


_OWN = {
    "crew_submit": _Tool(
        "Start a crew without waiting for its answer, which crew_result fetches.",
        _Submission,
        Scope.RUN,
        _submit,
        {"readOnlyHint": False, "destructiveHint": False},
    ),
    "crew_result": _Tool(
        "The answer of a crew's job. Waits some seconds if the job still runs; then call it again.",
        _JobId,
        Scope.READ,
        _read,
        {"readOnlyHint": True},
    ),
    "crew_answer": _Tool(
        "Answer the question that a crew's job waits for, with what a human says. The result has the question.",
        _Reply,
        Scope.RUN,
        _answer,
        {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True},
    ),
    "crew_cancel": _Tool(
        "Cancel a crew's job: it makes no further call of a model.",
        _JobId,
        Scope.ADMIN,
        _cancel,
        {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True},
    ),
}


def described() -> list[dict[str, Any]]:
    """All tools, sorted. A crew with a fault has none, nor one that is named as another tool."""
    crews = [
        {
            "name": card.name,
            "description": card.crew.description,
            "inputSchema": card.inputs.json_schema(),
            "outputSchema": OUTPUT,
            "annotations": {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": True},
        }
        for name in catalogue().names()
        if (card := _card(name))
    ]
    own = [
        {
            "name": name,
            "description": tool.description,
            "inputSchema": {**tool.arguments.model_json_schema(), "title": name},
            "outputSchema": OUTPUT,
            "annotations": tool.hints,
        }
        for name, tool in _OWN.items()
    ]
    return [*crews, *own]


def _card(name: str) -> Card | None:
    if name not in catalogue().names() or name in _OWN:
        return None
    try:
        return catalogue().card(name)
    except InvalidCrew:
        return None


async def call(asked: Asked) -> dict[str, Any]:
    name, given = asked.message.text("name"), asked.message.mapping("arguments")
    tool = _OWN.get(name)
    if tool is None and _card(name) is None:
        raise RpcError(INVALID_PARAMS, f"There is no tool {name[:100]}.")
    asked.caller.require(tool.scope if tool else Scope.RUN)
    try:
        if tool:
            return await tool.run(asked, _parsed(tool.arguments, given))
        return await _crew(asked, name, given)
    except CrewrelayError as error:
        if error.http not in _MENDABLE:
            raise
        return refused(error)


def _parsed(arguments: type[B], given: Mapping[str, Any]) -> B:
    try:
        return arguments.model_validate(given)
    except ValidationError as error:
        said = "; ".join(f"{each['field']}: {each['message']}" for each in complaints(error)[:20])
        raise InvalidRequest(said) from None


async def _crew(asked: Asked, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    state = asked.message.params.get("requestState")
    if state is None:
        job = await run_in_threadpool(_started, asked, name, given)
    else:
        job = await run_in_threadpool(_continued, asked, name, given, state)
    if asked.message.knows_tasks:
        soon = min(asked.end, asked.services.long_poll.clock() + _AT_ONCE)
        record = await ended(asked.services, job, soon)
        return result_of(asked, record) if record.job.status.finished else created(record.job)
    record = await ended(asked.services, job, asked.end)
    form = form_of(record)
    if asked.message.asks_humans and form.keys() - asked.message.mapping("inputResponses").keys():
        return {"resultType": "input_required", "inputRequests": form, "requestState": job.id}
    return result_of(asked, record)


def _started(asked: Asked, crew: str, inputs: Mapping[str, Any]) -> Job:
    key = asked.message.meta.get(KEY)
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= _LONGEST_KEY):
        raise InvalidRequest(f"_meta.{KEY}: must be a string of 1 to {_LONGEST_KEY} characters.")
    job_input = checked(asked.caller, crew, inputs)
    return asked.services.submission.submit(asked.caller.tenant, job_input, key)


def _continued(asked: Asked, crew: str, inputs: Mapping[str, Any], state: Any) -> Job:
    """The job that began with this call, whose question it answers. The state is its id, which counts no further than
    the tenant's jobs, nor without their inputs: to read others takes another scope.
    """
    store, tenant = asked.services.store, asked.caller.tenant
    with suppress(UnknownJob):
        job = job_of_tenant(store, tenant, state) if isinstance(state, str) else None
        if job and job.crew == crew and job.input_digest == checked(asked.caller, crew, inputs).digest():
            give(asked, job.id, asked.message.mapping("inputResponses"))
            return job_of_tenant(store, tenant, job.id)
    raise RpcError(INVALID_PARAMS, "requestState: is not what this server sent.")


async def _result(asked: Asked, job: Job) -> dict[str, Any]:
    return result_of(asked, await run_in_threadpool(record_of_tenant, asked.services.store, job.tenant, job.id))
