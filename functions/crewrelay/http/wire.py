"""The answers' schemas."""

from datetime import datetime

from pydantic import BaseModel

from crewrelay.jobs.answer import Answer, Source, Usage
from crewrelay.jobs.job import Failure, Job, Status
from crewrelay.jobs.ports import JobRecord


class Accepted(BaseModel):
    """202: the job is committed; look at `Location`."""

    job_id: str
    status: Status

    @classmethod
    def of(cls, job: Job) -> "Accepted":
        return cls(job_id=job.id, status=job.status)


class RunAnswer(BaseModel):
    """200: the crew answered within the request."""

    job_id: str
    status: Status
    answer: str
    sources: list[Source]
    usage: Usage

    @classmethod
    def of(cls, job: Job, answer: Answer) -> "RunAnswer":
        return cls(
            job_id=job.id, status=job.status, answer=answer.text, sources=list(answer.sources), usage=answer.usage
        )


class Timestamps(BaseModel):
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime


class JobStatus(BaseModel):
    """A job as its owner sees it; `result` is the crew's output once `status` is completed."""

    job_id: str
    status: Status
    crew: str
    inputs: dict[str, str]
    result: str | None
    sources: list[Source]
    error: Failure | None
    usage: Usage | None
    attempts: int
    timestamps: Timestamps

    @classmethod
    def of(cls, record: JobRecord) -> "JobStatus":
        job, job_input, answer = record
        return cls(
            job_id=job.id,
            status=job.status,
            crew=job.crew,
            inputs=job_input.inputs,
            result=answer.text if answer else None,
            sources=list(answer.sources) if answer else [],
            error=job.error,
            usage=answer.usage if answer else None,
            attempts=job.attempts,
            timestamps=Timestamps.model_validate(job, from_attributes=True),
        )


class Health(BaseModel):
    status: str
    version: str
