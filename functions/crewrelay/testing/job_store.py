"""Jobs, their answers, files, events and journals."""

import json
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime

from crewrelay.jobs.errors import DamagedJob, IdempotencyConflict, StaleWrite
from crewrelay.jobs.listing import Filter, Page, Position, page_of
from crewrelay.jobs.ports import Clock, JobRecord
from crewrelay.jobs.records.answer import Answer, File
from crewrelay.jobs.records.event_log import ended_unread
from crewrelay.jobs.records.events import EventRow
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call
from crewrelay.jobs.records.questions import Question
from crewrelay.jobs.records.subscription import Subscription


class MemoryJobStore:
    """Keeps everything as JSON, so that only serialisable values are accepted and no object is shared with callers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[str, str] = {}
        self._inputs: dict[str, str] = {}
        self._answers: dict[tuple[str, int], str] = {}
        self._events: dict[str, dict[int, str]] = {}
        self._questions: dict[tuple[str, str], str] = {}
        self._files: dict[tuple[str, str | None], bytes] = {}
        self._calls: dict[str, dict[tuple[str, int], tuple[datetime, str]]] = {}  # with their expiry time
        self.subscriptions: dict[tuple[str, int], str] = {}
        self.damaged: set[str] = set()  # ids of jobs whose input can't be read

    def create(self, job: Job, job_input: JobInput, subscriptions: Sequence[Subscription] = ()) -> Job:
        written, written_input = job.model_dump_json(), job_input.model_dump_json()
        with self._lock:
            existing = self._existing(job.id)
            if existing is None:
                self._forget(job.id)  # an expired job of the same id
                self._jobs[job.id], self._inputs[job.id] = written, written_input
                self.subscriptions |= {(job.id, one.number): one.model_dump_json() for one in subscriptions}
                return job
        if existing.input_digest != job.input_digest:
            raise IdempotencyConflict("This idempotency key was already used with a different body.")
        return existing

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        with self._lock:
            job = self._existing(job_id)
            if job is None or tenant not in (None, job.tenant):
                return None
            if job_id in self.damaged and not job.status.finished:
                raise DamagedJob(f"The input of job {job_id} can't be read.")
            if job_id in self.damaged:
                return JobRecord(job, JobInput(crew=job.crew, inputs={}), None)
            completed = job.status is Status.COMPLETED
            answer = Answer.model_validate_json(self._answers[job_id, job.fence]) if completed else None
            waiting = job.status is Status.WAITING
            question = Question.model_validate_json(self._questions[job_id, job.question or ""]) if waiting else None
            return JobRecord(job, JobInput.model_validate_json(self._inputs[job_id]), answer, question=question)

    def jobs(self, job_ids: Sequence[str], tenant: str) -> list[Job]:
        with self._lock:
            found = [self._existing(job_id) for job_id in job_ids]
        return [job for job in found if job and job.tenant == tenant]

    def statuses(self, job_ids: Sequence[str], tenant: str) -> dict[str, Status]:
        return {job.id: job.status for job in self.jobs(job_ids, tenant)}

    def listed(self, tenant: str, wanted: Filter, after: Position | None, limit: int) -> Page:
        with self._lock:
            ids = list(self._jobs)
        return page_of(self.jobs(ids, tenant), wanted, after, limit)

    def titles(self, job_ids: Sequence[str], tenant: str) -> dict[str, str]:
        inputs = {job.id: self._inputs[job.id] for job in self.jobs(job_ids, tenant)}
        return {job_id: JobInput.model_validate_json(written).title for job_id, written in inputs.items()}

    def save(self, before: Job, after: Job) -> None:
        written = after.model_dump_json()
        with self._lock:
            if self._jobs.get(after.id) == written:
                return  # a repeated write, whose first response was lost
            existing = Job.model_validate_json(self._jobs[after.id]) if after.id in self._jobs else None
            if existing is None or _version(existing) != _version(before):
                raise StaleWrite(f"job {after.id} was changed by another writer")
            self._jobs[after.id] = written

    def delete(self, job: Job) -> None:
        with self._lock:
            existing = self._existing(job.id)
            if existing and _version(existing) != _version(job):
                raise StaleWrite(f"job {job.id} was changed by another writer")
            self._forget(job.id)

    def _forget(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)
        self._inputs.pop(job_id, None)
        self._calls.pop(job_id, None)
        self._answers = {key: answer for key, answer in self._answers.items() if key[0] != job_id}
        self._questions = {key: question for key, question in self._questions.items() if key[0] != job_id}
        self._files = {key: content for key, content in self._files.items() if key[0] != job_id}
        self._events.pop(job_id, None)
        self.subscriptions = {key: one for key, one in self.subscriptions.items() if key[0] != job_id}

    def put_answer(self, job: Job, answer: Answer) -> None:
        written = answer.model_dump_json()
        with self._lock:
            if self._is_same(job):
                self._answers[job.id, job.fence] = written

    def put_question(self, job: Job, question_id: str, question: Question) -> None:
        with self._lock:
            self._questions[job.id, question_id] = question.model_dump_json()

    def put_file(self, job: Job, file: File) -> None:
        with self._lock:
            self._files[job.id, file.digest] = file.content

    def read_file(self, job: Job, file: File) -> bytes | str | None:
        with self._lock:
            return self._files.get((job.id, file.digest))

    def put_events(self, job: Job, row: EventRow) -> None:
        with self._lock:
            if self._is_same(job):
                kept, written = self._events.setdefault(job.id, {}), json.dumps(row.entries)
                kept[row.first] = max(kept.get(row.first, ""), written, key=len)

    def events(self, job: Job, after: int = 0) -> list[EventRow]:
        with self._lock:
            kept = sorted(self._events.get(job.id, {}).items())
        return [EventRow(first, [tuple(each) for each in json.loads(entries)]) for first, entries in kept]

    def put_call(self, job: Job, call: Call) -> Call:
        written = call.model_dump_json()
        with self._lock:
            calls = self._calls.setdefault(job.id, {})
            expires_at, existing = calls.get((call.digest, call.nth), (self._clock(), written))
            if expires_at <= self._clock():
                calls[call.digest, call.nth] = (job.expires_at, written)
                return call
            return Call.model_validate_json(existing)

    def journal(self, job: Job) -> Iterator[Call]:
        with self._lock:
            kept = list(self._calls.get(job.id, {}).values())
        return iter([Call.model_validate_json(written) for expires_at, written in kept if expires_at > self._clock()])

    def entries(self, job: Job) -> list[Call]:
        return [call.without_body() for call in self.journal(job)]

    def due(self, status: Status, moment: datetime) -> Iterator[str]:
        with self._lock:
            jobs = [Job.model_validate_json(written) for written in self._jobs.values()]
        due = [job for job in jobs if job.status is status and job.due_at is not None and job.due_at <= moment]
        return iter([job.id for job in due])

    def unfinished(self, tenant: str, most: int) -> int:
        with self._lock:
            jobs = [Job.model_validate_json(written) for written in self._jobs.values()]
        return min(most, sum(job.tenant == tenant and job.capped and not job.status.finished for job in jobs))

    def delete_expired(self) -> int:
        with self._lock:
            expired = [job_id for job_id in self._jobs if self._existing(job_id) is None]
            for job_id in expired:
                self._forget(job_id)
            return len(expired)

    def end_damaged(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        with self._lock:
            job = self._existing(job_id)
            if job is None or job.due_at is None or job.due_at > due_before:
                return False
            self._jobs[job_id] = ended_unread(job, error, now).model_dump_json()
            return True

    def _is_same(self, job: Job) -> bool:
        """Whether it has not been deleted, and perhaps submitted again, since."""
        existing = self._existing(job.id)
        return existing is not None and existing.created_at == job.created_at

    def _existing(self, job_id: str) -> Job | None:
        job = Job.model_validate_json(self._jobs[job_id]) if job_id in self._jobs else None
        return None if job is None or job.expires_at <= self._clock() else job


def _version(job: Job) -> tuple[object, ...]:
    return job.revision, job.status, job.fence, job.holder
