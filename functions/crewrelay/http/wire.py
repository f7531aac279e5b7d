"""Schemas of the answers."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from crewrelay.catalogue.definition import Card
from crewrelay.http.problems import Problem
from crewrelay.http.waiting import Waiting
from crewrelay.jobs.answer import Source, Usage
from crewrelay.jobs.job import Failure, Job, Status
from crewrelay.jobs.journal import Call, Kind, in_order
from crewrelay.jobs.money import Usd
from crewrelay.jobs.ports import JobRecord


class Links(BaseModel):
    docs: str
    openapi: str
    health: str


class Service(BaseModel):
    """The service, and links to its documentation."""

    name: str
    version: str
    links: Links


class Health(BaseModel):
    status: str
    version: str


class Accepted(BaseModel):
    """202: the job is committed. `status_url` is the address of its status: `Location` as an absolute URL."""

    job_id: str
    status: Status
    status_url: str

    @classmethod
    def of(cls, job: Job, status_url: str) -> "Accepted":
        return cls(job_id=job.id, status=job.status, status_url=status_url)


class RunProblem(Problem):
    """502: the crew failed. `error` is the same as in the job's status."""

    job_id: str
    error: Failure | None


UrlOfLarge = Annotated[str | None, Field(exclude_if=lambda url: url is None)]  # left out for answers of usual size


class RunAnswer(BaseModel):
    """200: the crew answered within the request. Fetch an answer over 1 MB at `answer_url` instead.

    `result` and `result_url` are the same fields, under their names in a job's status.
    `answerable` is false when the crew declined, or cites no passage that was retrieved.
    `unknown_citations` are numbers that the crew cited and no passage has: they are removed from the answer.
    """

    job_id: str
    status: Status
    answer: str | None
    result: str | None
    sources: list[Source]
    answerable: bool | None
    unknown_citations: list[int]
    usage: Usage | None
    answer_url: UrlOfLarge = None
    result_url: UrlOfLarge = None

    @classmethod
    def of(cls, record: JobRecord) -> "RunAnswer":
        job, answer, answer_url = record.job, record.answer, record.answer_url
        return cls(
            job_id=job.id,
            status=job.status,
            answer=answer.text if answer else None,
            result=answer.text if answer else None,
            sources=list(answer.sources) if answer else [],
            answerable=answer.answerable if answer else None,
            unknown_citations=list(answer.unknown_citations) if answer else [],
            usage=answer.usage if answer else None,
            answer_url=answer_url,
            result_url=answer_url,
        )


class JobReceipt(BaseModel):
    """What the job has cost so far. `calls_replayed` were replayed from its journal instead of being paid again;
    `cost_usd` is the sum of all paid calls, or null if the cost of one is unknown; `attempts` are starts that were not
    relays; `restarts` are starts from the beginning, because the crew had changed.
    """

    calls_paid: int
    calls_replayed: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Usd | None
    attempts: int
    relays: int
    restarts: int

    @classmethod
    def of(cls, job: Job) -> "JobReceipt":
        return cls(**job.receipt.model_dump(), attempts=job.attempts, relays=job.relays, restarts=job.restarts)


class Timestamps(BaseModel):
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime


class JobStatus(BaseModel):
    """A job as its owner sees it; `result` is the crew's output once `status` is completed, `waiting` the question
    that it waits for.

    Fetch a result over 1 MB at `result_url` instead, as JSON with `text`, `sources`, `answerable`,
    `unknown_citations` and `usage`. `answer` and `answer_url` are the same fields, under their names in an inline run.
    """

    job_id: str
    status: Status
    batch: str | None
    crew: str
    inputs: dict[str, str | int | bool]
    result: str | None
    answer: str | None
    result_url: str | None
    answer_url: UrlOfLarge = None
    sources: list[Source]
    answerable: bool | None
    unknown_citations: list[int]
    error: Failure | None
    waiting: Waiting | None
    usage: Usage | None
    receipt: JobReceipt
    attempts: int
    timestamps: Timestamps

    @classmethod
    def of(cls, record: JobRecord) -> "JobStatus":
        job, answer, answer_url = record.job, record.answer, record.answer_url
        return cls(
            job_id=job.id,
            status=job.status,
            batch=job.batch,
            crew=job.crew,
            inputs=dict(record.input.inputs),
            result=answer.text if answer else None,
            answer=answer.text if answer else None,
            result_url=answer_url,
            answer_url=answer_url,
            sources=list(answer.sources) if answer else [],
            answerable=answer.answerable if answer else None,
            unknown_citations=list(answer.unknown_citations) if answer else [],
            error=job.error,
            waiting=Waiting.of(record),
            usage=answer.usage if answer else None,
            receipt=JobReceipt.of(job),
            attempts=job.attempts,
            timestamps=Timestamps.model_validate(job, from_attributes=True),
        )


class CrewCard(BaseModel):
    """A crew; `inputs` is the JSON schema of what a request sends as `inputs`. One with a `fault` can't run."""

    name: str
    description: str
    inputs: dict[str, Any]
    fault: str | None = None

    @classmethod
    def of(cls, card: Card) -> "CrewCard":
        return cls(name=card.name, description=card.crew.description, inputs=card.inputs.json_schema())

    @classmethod
    def faulty(cls, name: str, fault: str) -> "CrewCard":
        return cls(name=name, description="", inputs={}, fault=fault)


class Crews(BaseModel):
    """The crews of this deployment, sorted by name."""

    crews: list[CrewCard]


class JobCall(BaseModel):
    """A call that was paid for. `model`, tokens and `cost_usd` belong to calls of models; an unknown cost is null.
    `fence` is the number of the run that made the call; `at` is when its reply came.
    """

    number: int
    kind: Kind
    model: str | None
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Usd | None
    seconds: float
    fence: int | None
    at: datetime | None


class JobCalls(BaseModel):
    """The calls from number `after` + 1 on, of `total` so far. Each is listed once, however often it was replayed."""

    job_id: str
    total: int
    calls: list[JobCall]

    @classmethod
    def of(cls, job: Job, entries: Iterable[Call], after: int, limit: int) -> "JobCalls":
        numbered = list(enumerate(in_order(entries), 1))
        calls = [
            JobCall(
                number=number,
                kind=call.kind,
                model=call.reply.model or None,
                prompt_tokens=call.reply.prompt_tokens,
                completion_tokens=call.reply.completion_tokens,
                cost_usd=call.reply.cost_usd,
                seconds=round(call.seconds, 3),
                fence=call.fence,
                at=call.at,
            )
            for number, call in numbered[after : after + limit]
        ]
        return cls(job_id=job.id, total=len(numbered), calls=calls)
