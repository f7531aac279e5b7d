"""What both of OpenAI's ways to ask have in common: the job of a request, and the wait for its answer."""

from datetime import datetime
from typing import Annotated

from fastapi import Header
from starlette.concurrency import run_in_threadpool

from crewrelay.http.app import IdempotencyKey
from crewrelay.http.protocols.joining import submitted
from crewrelay.http.protocols.openai.resource import response_id
from crewrelay.http.protocols.runs import ended
from crewrelay.http.services import Services
from crewrelay.jobs.access import Caller
from crewrelay.jobs.errors import AnswerAwaited, RunFailed, StillRunning
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.job import Job, JobInput, Status

# How often the client has repeated this request.
RetryCount = Annotated[str, Header(alias="x-stainless-retry-count")]


async def job_of(services: Services, caller: Caller, job_input: JobInput, key: IdempotencyKey, retries: str) -> Job:
    def submit() -> Job:
        return submitted(services, caller.tenant, job_input, key, is_repeated=retries not in ("", "0"))

    return await run_in_threadpool(submit)


async def answered(services: Services, job: Job, end: datetime) -> JobRecord:
    """The completed job. Raises StillRunning, AnswerAwaited, RunFailed."""
    record = await ended(services, job, end)
    job, name = record.job, response_id(job)
    match job.status:
        case Status.COMPLETED:
            return record
        case Status.WAITING:
            raise AnswerAwaited(f"{name} waits for a human's answer: GET /crewai/status/{job.id} has the question.")
        case Status.FAILED | Status.CANCELLED:
            raise RunFailed(f"{name}: {job.error.message if job.error else f'the job was {job.status}.'}")
        case _:
            raise StillRunning(f"The crew is still at work on {name}.")
