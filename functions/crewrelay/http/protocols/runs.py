"""What the protocols have in common: starting a crew by its name, and waiting for its job."""

from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.request import complaints, request_of
from crewrelay.http.long_poll import looks
from crewrelay.http.services import Services
from crewrelay.jobs.access import Caller
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.ports import JobRecord, record_of_tenant
from crewrelay.jobs.records.job import Job, JobInput, Status


def checked(caller: Caller, crew: str, inputs: Mapping[str, Any]) -> JobInput:
    """The input of a job of this crew. Raises InvalidRequest, ForeignCollection."""
    try:
        request = request_of({"crew": crew, "inputs": dict(inputs)})
    except ValidationError as error:
        said = "; ".join(f"{each['field']}: {each['message']}" for each in complaints(error)[:20])
        raise InvalidRequest(said) from None
    return caller.permitted(request.job_input())


def first_text(crew: str) -> str:
    """The name of the crew's first required text input, or else of its first one, for protocols whose requests have a
    single text.
    """
    schema = catalogue().card(crew).inputs.json_schema()
    texts = [name for name, described in schema["properties"].items() if described.get("type") == "string"]
    for name in (*(text for text in texts if text in schema.get("required", [])), *texts):
        return str(name)
    raise InvalidRequest(f"The crew {crew} takes no text: start it with POST /crewai/run/async.")


async def ended(services: Services, job: Job, end: datetime) -> JobRecord:
    """The job once it has ended or waits for a human, or as it is at that time. Raises UnknownJob."""
    async with aclosing(looks(services.store, services.long_poll, job.tenant, job.id, end)) as seen:
        async for now, is_last in seen:
            if is_last or now.status is Status.WAITING:
                break
    return await run_in_threadpool(record_of_tenant, services.store, job.tenant, job.id)
