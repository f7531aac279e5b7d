"""The domain's ports in memory, strict: tests/integration/test_store_contract.py holds this store and the real one
to the same contract.
"""

import threading
from datetime import timedelta

from crewrelay.jobs.answer import Answer
from crewrelay.jobs.errors import AnswerTooLarge, IdempotencyConflict, StaleWrite, Unavailable
from crewrelay.jobs.job import Job, JobInput, Status
from crewrelay.jobs.ports import Clock, JobRecord


class MemoryJobStore:
    """Keeps everything as JSON: what can't be written down can't be stored, and no object is shared with a caller."""

    def __init__(self, clock: Clock, largest_answer: int = 500_000) -> None:
        self._clock = clock
        self._largest_answer = largest_answer
        self._lock = threading.Lock()
        self._jobs: dict[str, str] = {}
        self._inputs: dict[str, str] = {}
        self._answers: dict[tuple[str, int], str] = {}

    def create(self, job: Job, job_input: JobInput) -> Job:
        written, written_input = job.model_dump_json(), job_input.model_dump_json()
        with self._lock:
            standing = self._standing(job.id)
            if standing is None:
                self._jobs[job.id], self._inputs[job.id] = written, written_input
                return job
        if standing.input_digest != job.input_digest:
            raise IdempotencyConflict("This idempotency key was already used with another body.")
        return standing

    def load(self, job_id: str) -> JobRecord | None:
        with self._lock:
            job = self._standing(job_id)
            if job is None:
                return None
            completed = job.status is Status.COMPLETED
            answer = Answer.model_validate_json(self._answers[job_id, job.fence]) if completed else None
            return JobRecord(job, JobInput.model_validate_json(self._inputs[job_id]), answer)

    def save(self, before: Job, after: Job) -> None:
        """`before` is where a job's holder thinks it is: its status and fence. To a claimer, who is not the holder,
        the lease belongs to it too.
        """
        written = after.model_dump_json()
        with self._lock:
            if self._jobs.get(after.id) == written:
                return  # the repeat of a write whose reply was lost
            standing = Job.model_validate_json(self._jobs[after.id]) if after.id in self._jobs else None
            if standing is None or _position(standing, before, after) != _position(before, before, after):
                raise StaleWrite(f"job {after.id} moved on")
            self._jobs[after.id] = written

    def put_answer(self, job: Job, answer: Answer) -> None:
        written = answer.model_dump_json()
        if len(written) > self._largest_answer:
            raise AnswerTooLarge(f"The answer takes {len(written):,} bytes; {self._largest_answer:,} fit.")
        with self._lock:
            self._answers[job.id, job.fence] = written

    def _standing(self, job_id: str) -> Job | None:
        job = Job.model_validate_json(self._jobs[job_id]) if job_id in self._jobs else None
        return None if job is None or job.expires_at <= self._clock() else job


def _position(job: Job, before: Job, after: Job) -> tuple[object, ...]:
    claimed = after.fence != before.fence
    return (job.status, job.fence, job.lease_until) if claimed else (job.status, job.fence)


class MemoryDoorbell:
    """Remembers who was rung for; out of order, it refuses as the queue does."""

    def __init__(self) -> None:
        self.rings: list[str] = []
        self.delays: list[timedelta] = []
        self.out_of_order = False

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None:
        if self.out_of_order:
            raise Unavailable("The queue did not answer.")
        self.rings.append(job_id)
        self.delays.append(delay)
