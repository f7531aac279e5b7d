"""What the domain needs from the world, as Protocols. Adapters: aws/ (store, doorbell, meter), crews/ (crew)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from crewrelay.jobs.answer import Answer, Passage, Usage
from crewrelay.jobs.errors import UnknownJob
from crewrelay.jobs.job import Failure, Job, JobInput, Status
from crewrelay.jobs.journal import Call, Kind, Reply

Clock = Callable[[], datetime]  # aware, UTC
NewId = Callable[[], str]
Jitter = Callable[[], float]  # random, from 0 to 1
Wait = Callable[[Future[Any], float], bool]  # until it is done or so many seconds have passed; whether it is done


class JobRecord(NamedTuple):
    """All that a reader may see of a job. An answer that is too large to pass on is to be fetched at `answer_url`."""

    job: Job
    input: JobInput
    answer: Answer | None
    answer_url: str | None = None


class JobStore(Protocol):
    """The table. It is the truth: what it refused did not happen. Every method may raise Unavailable."""

    def create(self, job: Job, job_input: JobInput) -> Job:
        """Commit the job, or return the one that already stands under its id with the same input.

        Raises IdempotencyConflict if that one has another input.
        """

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        """The job as it stands now (a consistent read), None if there is none or it has expired; with a `tenant`, also
        if it is another's, of whose job nothing more is read. Raises DamagedJob if it can't be read.
        """

    def save(self, before: Job, after: Job) -> None:
        """One conditional write of what changed. Raises StaleWrite if the row is no longer at `before`."""

    def put_answer(self, job: Job, answer: Answer) -> None:
        """Keep the answer under the job's fence; it counts once the job completes under that fence."""

    def put_call(self, job: Job, call: Call) -> Call:
        """Keep what was paid for, whoever holds the job by now; if the call stands already, that one is returned."""

    def journal(self, job: Job) -> Iterator[Call]:
        """Every call that was ever kept for the job, read page by page."""

    def entries(self, job: Job) -> Sequence[Call]:
        """The same without the replies' bodies, which may be large."""

    def due(self, status: Status, moment: datetime) -> Iterator[str]:
        """The ids of jobs that are pending, or running, and were due by then, as far as an index knows: some may have
        moved on.
        """

    def unfinished(self, tenant: str, most: int) -> int:
        """How many unfinished capped jobs the tenant has, as far as an index knows; it counts up to `most`."""

    def end_damaged(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        """Fail an unfinished job that can't be loaded, if it has been due since then. Returns whether it was ended."""


def record_of_tenant(store: JobStore, tenant: str, job_id: str) -> JobRecord:
    """The one way by which a caller's request reads a job: another tenant's doesn't exist. Raises UnknownJob."""
    record = store.load(job_id, tenant)
    if record is None:
        raise UnknownJob(f"There is no job {job_id}.")
    return record


class Doorbell(Protocol):
    """The queue: it says "look at this job" and nothing else. May raise Unavailable."""

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None: ...

    def waiting(self) -> int:
        """About how many bells nobody has answered yet, without those whose delay is not over."""


class Measure(StrEnum):
    """What is measured, by the names that dashboards and alarms know."""

    JOBS_ACCEPTED = "JobsAccepted"
    JOBS_COMPLETED = "JobsCompleted"
    JOBS_FAILED = "JobsFailed"
    JOBS_CANCELLED = "JobsCancelled"
    JOBS_OVERDUE = "JobsOverdue"  # of those that failed
    TIME_IN_QUEUE = "TimeInQueue"  # ms, from a job's submission to its first claim
    RUN_TIME = "RunTime"  # ms, from its first claim to its end, with all that lies between its runs
    RELAYS = "Relays"
    RETRIES = "Retries"  # after an error that may pass
    CREWS_STUCK = "CrewsStuck"  # runs whose crew did not stop with them
    CALLS = "Calls"  # of a model, that were paid for
    REPLAYS = "Replays"  # that the journal answered instead
    TOKENS = "Tokens"
    COST_USD = "CostUsd"  # of calls whose cost is known
    SWEEPS = "Sweeps"
    RUNG = "Rung"  # by the sweeper
    REFUSALS = "Refusals"  # of requests to the table or bucket, for which no job is to blame


class Meter(Protocol):
    """Safe to use from many threads; never raises."""

    def record(self, measures: Mapping[Measure, float]) -> None:
        """What has just happened, each time it does."""


class RelayDue(Exception):
    """What is left of this invocation is not enough for the next call, or was not for one that was cut short."""


class Calls(Protocol):
    """What a crew is run with: everything that costs goes through here. Safe to use from many threads."""

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        """The reply that the journal holds for this request, or that of `pay`, journaled.

        Raises RunStopped if nothing more may be paid; whatever `pay` raises is passed on, and not journaled.
        """

    def journaled(self, kind: Kind) -> Sequence[Reply]:
        """What the journal held of a kind when the run began, in its order."""

    def stop(self, error: BaseException) -> None:
        """End the run with this error, whatever the crew makes of it. Only the first counts."""

    def usage(self) -> Usage:
        """What was asked of models in this run, paid or replayed."""

    @property
    def remaining(self) -> timedelta:
        """How long a call that is made now may take, before the run ends or is relayed. Cut one short by then, and
        stop the run with RelayDue.
        """

    @property
    def is_last_attempt(self) -> bool:
        """Whether an error that may pass ends the job all the same."""


class Crew(Protocol):
    """Runs a crew to its end on the calling thread."""

    def fingerprint(self, job_input: JobInput) -> str:
        """Changes with everything that makes the same input ask other things: definition, code, libraries, model."""

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        """May raise whatever its libraries do, SystemExit included."""

    def explain(self, error: BaseException) -> Failure:
        """What an error of a run means, in words a person can act on, and whether it may pass."""


class Retriever(Protocol):
    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        """The best passages for the query, best first. Answers or raises within `timeout`, or its own if shorter."""
