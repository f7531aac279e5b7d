"""What the domain needs from the world, as Protocols. Adapters: aws/ (store, doorbell), crews/ (crew)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from crewrelay.jobs.answer import Answer, Passage
from crewrelay.jobs.errors import UnknownJob
from crewrelay.jobs.job import Job, JobInput

Clock = Callable[[], datetime]  # aware, UTC
NewId = Callable[[], str]


class JobRecord(NamedTuple):
    """All that a reader may see of a job."""

    job: Job
    input: JobInput
    answer: Answer | None


class JobStore(Protocol):
    """The table. It is the truth: what it refused did not happen. Every method may raise Unavailable."""

    def create(self, job: Job, job_input: JobInput) -> Job:
        """Commit the job, or return the one that already stands under its id with the same input.

        Raises IdempotencyConflict if that one has another input.
        """

    def load(self, job_id: str) -> JobRecord | None:
        """The job as it stands now (a consistent read), None if there is none or it has expired."""

    def save(self, before: Job, after: Job) -> None:
        """One conditional write of what changed. Raises StaleWrite if the row is no longer at `before`."""

    def put_answer(self, job: Job, answer: Answer) -> None:
        """Keep the answer under the job's fence; it counts once the job completes under that fence.

        Raises AnswerTooLarge.
        """


def record_of_tenant(store: JobStore, tenant: str, job_id: str) -> JobRecord:
    """The one way by which a caller's request reads a job: another tenant's doesn't exist. Raises UnknownJob."""
    record = store.load(job_id)
    if record is None or record.job.tenant != tenant:
        raise UnknownJob(f"There is no job {job_id}.")
    return record


class Doorbell(Protocol):
    """The queue: it says "look at this job" and nothing else. May raise Unavailable."""

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None: ...


class Crew(Protocol):
    """Runs a crew to its end on the calling thread; whatever it raises is the job's failure."""

    def run(self, job_input: JobInput) -> Answer: ...


class Retriever(Protocol):
    def retrieve(self, query: str, top_k: int = 5) -> list[Passage]:
        """The best passages for the query, best first."""
