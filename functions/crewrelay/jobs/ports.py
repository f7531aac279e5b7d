"""The domain's ports, as Protocols. Adapters: aws/ and sqlite/ (store, doorbell), aws/ (meter), crews/ (crew)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from crewrelay.jobs.errors import UnknownJob
from crewrelay.jobs.listing import Filter, Page, Position
from crewrelay.jobs.records.answer import Answer, File, Passage, Usage
from crewrelay.jobs.records.events import Event, EventRow, events_of
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.questions import Feedback, Question
from crewrelay.jobs.records.subscription import Subscription

Clock = Callable[[], datetime]  # aware, UTC
NewId = Callable[[], str]
Jitter = Callable[[], float]  # random, from 0 to 1
Wait = Callable[[Future[Any], float], bool]  # wait up to so many seconds; returns whether it is done


class JobRecord(NamedTuple):
    """A job with its input and answer, and the question it waits for. An answer too large to return is at `answer_url`
    instead.
    """

    job: Job
    input: JobInput
    answer: Answer | None
    answer_url: str | None = None
    question: Question | None = None


class JobStore(Protocol):
    """The table, the source of truth: a refused write did not happen. Every method may raise Unavailable."""

    def create(self, job: Job, job_input: JobInput, subscriptions: Sequence[Subscription] = ()) -> Job:
        """Put the job with its subscriptions if absent or expired; else return the existing one.

        Raises IdempotencyConflict if the existing job has a different input.
        """

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        """A consistent read; None if the job is unknown or expired, or belongs to a tenant other than `tenant`, whose
        input and answer are then not read. Raises DamagedJob if it can't be read.
        """

    def jobs(self, job_ids: Sequence[str], tenant: str) -> list[Job]:
        """A consistent read of the rows alone: those of this tenant that exist and can be read, in any order."""

    def statuses(self, job_ids: Sequence[str], tenant: str) -> dict[str, Status]:
        """As `jobs`, but only their states, which takes a tenth of the time."""

    def listed(self, tenant: str, wanted: Filter, after: Position | None, limit: int) -> Page:
        """The tenant's jobs that follow a position, newest first. Found by an eventually consistent index."""

    def titles(self, job_ids: Sequence[str], tenant: str) -> dict[str, str]:
        """What those of the jobs that are the tenant's are about, as far as their input says."""

    def save(self, before: Job, after: Job) -> None:
        """One conditional write of what changed. Raises StaleWrite if the row no longer equals `before`."""

    def delete(self, job: Job) -> None:
        """Delete a finished job with everything that belongs to it. Raises StaleWrite if the row no longer is `job`.
        If the process dies meanwhile, the job is still there, perhaps as cancelled, and can be deleted again.
        """

    def put_answer(self, job: Job, answer: Answer) -> None:
        """Store the answer under the job's fence; it is read only if the job completes under that fence, and by no
        later job of the same id.
        """

    def put_question(self, job: Job, question_id: str, question: Question) -> None:
        """Store the question; it is read only while the job waits for this one."""

    def put_file(self, job: Job, file: File) -> None:
        """Store a file's content by its digest, until the job is deleted."""

    def read_file(self, job: Job, file: File) -> bytes | str | None:
        """A stored file's content, or a URL that has it, valid for an hour; None if it is not stored."""

    def put_events(self, job: Job, row: EventRow) -> None:
        """Put these entries of the job's event log. Of two rows with the same first entry, the longer one stays: it has
        all of the other.
        """

    def events(self, job: Job, after: int = 0) -> Iterable[EventRow]:
        """The rows of the event log that may have entries with numbers over `after`; the last ones are in the job."""

    def put_call(self, job: Job, call: Call) -> Call:
        """Put the call if absent, unfenced, because it was paid for; else return the existing one."""

    def journal(self, job: Job) -> Iterator[Call]:
        """All journaled calls of the job, read page by page."""

    def entries(self, job: Job) -> Sequence[Call]:
        """The journaled calls without the replies' bodies, which may be large."""

    def due(self, status: Status, moment: datetime) -> Iterator[str]:
        """Ids of jobs of this status that were due at `moment`. Read from an eventually consistent index: some may have
        changed since.
        """

    def unfinished(self, tenant: str, most: int) -> int:
        """The tenant's number of unfinished capped jobs, up to `most`, from an eventually consistent index."""

    def delete_expired(self) -> int:
        """Delete some expired jobs, if the store doesn't do so by itself; returns how many."""

    def end_damaged(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        """Fail an unfinished job that can't be loaded if it was due before `due_before`. Returns whether it did. Its
        event log has that, if its row can be read.
        """


def record_of_tenant(store: JobStore, tenant: str, job_id: str) -> JobRecord:
    """The only way a caller's request reads a job. Raises UnknownJob, also for another tenant's job."""
    record = store.load(job_id, tenant)
    if record is None:
        raise UnknownJob(f"There is no job {job_id}.")
    return record


def event_log_of(store: JobStore, job: Job, after: int = 0) -> list[Event]:
    """The events with numbers over `after`. The job is read before: what was moved out of it since is found twice."""
    stored = store.events(job, after) if after + 1 < job.log_from else ()
    return events_of(job.created_at, (*stored, EventRow(job.log_from, job.log)), after)


def job_of_tenant(store: JobStore, tenant: str, job_id: str) -> Job:
    """The same for the row alone."""
    for job in store.jobs([job_id], tenant):
        return job
    raise UnknownJob(f"There is no job {job_id}.")


class Changes(Protocol):
    """Tells those who wait that jobs have changed, if the engine can."""

    def seen(self) -> int:
        """A number that grows with each change that is told."""

    async def after(self, seen: int, seconds: float) -> None:
        """Return soon after the number has grown beyond `seen`, at the latest after so many seconds."""


class Doorbell(Protocol):
    """The queue: it says "look at this job" and nothing else. May raise Unavailable."""

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None: ...

    def waiting(self) -> int:
        """Approximate number of messages ready to be received; delayed ones are not counted."""


class Measure(StrEnum):
    """Metrics, named as dashboards and alarms refer to them."""

    JOBS_ACCEPTED = "JobsAccepted"
    JOBS_COMPLETED = "JobsCompleted"
    JOBS_FAILED = "JobsFailed"
    JOBS_CANCELLED = "JobsCancelled"
    JOBS_OVERDUE = "JobsOverdue"  # a subset of JOBS_FAILED
    TIME_IN_QUEUE = "TimeInQueue"  # ms, from a job's submission to its first claim
    RUN_TIME = "RunTime"  # ms, from its first claim to its end, waits between runs included
    RELAYS = "Relays"
    RETRIES = "Retries"  # after a transient error
    CREWS_STUCK = "CrewsStuck"  # runs whose crew did not stop when told to
    CALLS = "Calls"  # model calls that were paid for
    REPLAYS = "Replays"  # model calls answered from the journal
    TOKENS = "Tokens"
    COST_USD = "CostUsd"  # of calls whose cost is known
    SWEEPS = "Sweeps"
    RUNG = "Rung"  # by the sweeper
    UPLOADS_LATE = "UploadsLate"  # at a sweep: batches of a file that nobody takes
    DELIVERIES = "Deliveries"  # of events to webhooks
    DELIVERIES_FAILED = "DeliveriesFailed"  # attempts
    DELIVERIES_GIVEN_UP = "DeliveriesGivenUp"  # webhooks that are not tried again
    REFUSALS = "Refusals"  # requests that the table or bucket refused; not a job's fault


class Meter(Protocol):
    """Thread-safe; never raises."""

    def record(self, measures: Mapping[Measure, float]) -> None:
        """Emit these metrics once."""


class RelayDue(Exception):
    """The invocation's remaining time is too short for the next call, or cut one short."""


class Calls(Protocol):
    """A crew's way to anything that costs money. Thread-safe."""

    @property
    def job_id(self) -> str: ...

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        """The journaled reply to this request, or else that of `pay`, which is then journaled.

        Raises RunStopped if no further call may be made; an error of `pay` is passed on and not journaled.
        """

    def ask(self, question: Question) -> Feedback:
        """The journaled answer of a human to this question, or its default if it has expired.

        Raises RunStopped if there is none: the job waits then, and a later run goes on with the answer.
        """

    def begin_task(self, name: str, agent: str, number: int, of: int) -> None:
        """Tell that the `number`-th of so many tasks begins. Each run tells of all its tasks; a task counts once."""

    def end_task(self) -> None:
        """Tell that a task has ended, with the next write."""

    def journaled(self, kind: Kind) -> Sequence[Reply]:
        """The replies of a kind that the journal held when the run began, in journal order."""

    def stop(self, error: BaseException) -> None:
        """End the run with this error, even if the crew catches it. Only the first call counts."""

    def usage(self) -> Usage:
        """This run's model usage, paid or replayed, with what was asked within a tool's call that is replayed."""

    @property
    def remaining(self) -> timedelta:
        """How long a call made now may take before the run must end. When it exceeds this, abort it and stop the run
        with RelayDue.
        """

    @property
    def is_last_attempt(self) -> bool:
        """Whether even a transient error now fails the job."""


class Crew(Protocol):
    """Runs a crew to its end on the calling thread."""

    def fingerprint(self, job_input: JobInput) -> str:
        """Changes with whatever changes the requests for the same input: definition, code, libraries, model."""

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        """May raise whatever its libraries do, SystemExit included."""

    def explain(self, error: BaseException) -> Failure:
        """Describe a run's error in words that a person can act on, and whether it is retryable."""


class Retriever(Protocol):
    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        """The best passages for the query, best first. Returns or raises within `timeout`, or its own if shorter."""
