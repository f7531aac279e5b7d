"""Schemas of the answers."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, JsonValue

from crewrelay.catalogue.definition import Card
from crewrelay.http.problems import Problem
from crewrelay.http.waiting import Waiting
from crewrelay.jobs.money import Usd
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.answer import Answer, Source, Usage
from crewrelay.jobs.records.job import Failure, Job, Progress, Status
from crewrelay.jobs.records.journal import Call, Kind, in_order

UrlOfFile = Callable[[int], str]


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


class FileLink(BaseModel):
    """A file that the crew wrote as a task's `output_file`. `url` is null if it is too large to be kept."""

    name: str
    size: int
    url: str | None

    @classmethod
    def all_of(cls, answer: Answer | None, url_of: UrlOfFile) -> "list[FileLink]":
        """Numbered from 1."""
        return [
            cls(name=file.name, size=file.size, url=url_of(number) if file.digest else None)
            for number, file in enumerate(answer.files if answer else (), 1)
        ]


Files = Annotated[list[FileLink], Field(exclude_if=lambda files: not files)]  # left out where there are none


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
    files: Files = []
    usage: Usage | None
    answer_url: UrlOfLarge = None
    result_url: UrlOfLarge = None

    @classmethod
    def of(cls, record: JobRecord, url_of: UrlOfFile) -> "RunAnswer":
        job, answer, answer_url = record.job, record.answer, record.answer_url
        return cls(
            job_id=job.id,
            status=job.status,
            answer=answer.text if answer else None,
            result=answer.text if answer else None,
            sources=list(answer.sources) if answer else [],
            answerable=answer.answerable if answer else None,
            unknown_citations=list(answer.unknown_citations) if answer else [],
            files=FileLink.all_of(answer, url_of),
            usage=answer.usage if answer else None,
            answer_url=answer_url,
            result_url=answer_url,
        )


class JobReceipt(BaseModel):
    """What the job has cost so far. `calls_replayed` were replayed from its journal instead of being paid again;
    `diverged` is how many calls were made in vain, because the crew asked something else when it was resumed;
    `cost_usd` is the sum of all paid calls, or null if the cost of one is unknown; `attempts` are starts that were not
    relays; `restarts` are starts from the beginning, because the crew had changed.
    """

    calls_paid: int
    calls_replayed: int
    prompt_tokens: int
    completion_tokens: int
    diverged: int
    cost_usd: Usd | None
    attempts: int
    relays: int
    restarts: int

    @classmethod
    def of(cls, job: Job) -> "JobReceipt":
        return cls(**job.receipt.model_dump(), attempts=job.attempts, relays=job.relays, restarts=job.restarts)


class JobProgress(BaseModel):
    """How far the crew has come: `current_task` is the last one that began, by name, and `current_agent` its agent. The
    total is 0 until the first task begins; a flow's crews count one after the other.
    """

    completed_tasks: int
    total_tasks: int
    current_task: str | None
    current_agent: str | None

    @classmethod
    def of(cls, progress: Progress) -> "JobProgress":
        return cls(
            completed_tasks=progress.ended,
            total_tasks=max(progress.total, progress.begun),
            current_task=progress.task or None,
            current_agent=progress.agent or None,
        )


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
    inputs: dict[str, JsonValue]
    result: str | None
    answer: str | None
    result_url: str | None
    answer_url: UrlOfLarge = None
    sources: list[Source]
    answerable: bool | None
    unknown_citations: list[int]
    files: Files = []
    error: Failure | None
    waiting: Waiting | None
    progress: JobProgress
    usage: Usage | None
    receipt: JobReceipt
    attempts: int
    timestamps: Timestamps

    @classmethod
    def of(cls, record: JobRecord, url_of: UrlOfFile) -> "JobStatus":
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
            files=FileLink.all_of(answer, url_of),
            error=job.error,
            waiting=Waiting.of(record),
            progress=JobProgress.of(job.progress),
            usage=answer.usage if answer else None,
            receipt=JobReceipt.of(job),
            attempts=job.attempts,
            timestamps=Timestamps.model_validate(job, from_attributes=True),
        )


class CrewCard(BaseModel):
    """A crew or flow; `inputs` is the JSON schema of what a request sends as `inputs`. `tasks` are its tasks or steps,
    `asks` those that may ask a human. One with a `fault` can't run.
    """

    name: str
    kind: Literal["crew", "flow"] | None
    description: str
    inputs: dict[str, Any]
    tasks: list[str] = []
    asks: list[str] = []
    fault: str | None = None

    @classmethod
    def of(cls, card: Card) -> "CrewCard":
        return cls(
            name=card.name,
            kind=card.kind,
            description=card.crew.description,
            inputs=card.inputs.json_schema(),
            tasks=list(card.outline.tasks),
            asks=list(card.outline.asks),
        )

    @classmethod
    def faulty(cls, name: str, fault: str) -> "CrewCard":
        return cls(name=name, kind=None, description="", inputs={}, fault=fault)


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
