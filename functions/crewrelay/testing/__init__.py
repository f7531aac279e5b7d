"""In-memory versions of the domain's ports, for tests. They pass the same contract tests as the engines
(tests/integration/test_store_*.py).
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crewrelay.jobs.access import Token
from crewrelay.jobs.errors import DamagedJob, IdempotencyConflict, StaleWrite, Unavailable, UnknownToken
from crewrelay.jobs.listing import Filter, Page, Position, page_of
from crewrelay.jobs.ports import Clock, JobRecord
from crewrelay.jobs.records.answer import Answer, File, Usage
from crewrelay.jobs.records.batch import CHUNK, Batch, BatchItem, Outcomes, subject_id
from crewrelay.jobs.records.event_log import ended_unread
from crewrelay.jobs.records.events import EventRow
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply, digest_of, usage_of
from crewrelay.jobs.records.questions import Feedback, Question
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.webhooks.signing import SigningSecret


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


class MemorySubscriptions:
    """Those of the jobs in a store."""

    def __init__(self, store: MemoryJobStore) -> None:
        self._store = store

    def of(self, job_id: str) -> list[Subscription]:
        kept = sorted((key, one) for key, one in self._store.subscriptions.items() if key[0] == job_id)
        return [Subscription.model_validate_json(one) for _, one in kept]

    def put(self, subscription: Subscription) -> None:
        written = subscription.model_dump_json()
        if self._store.subscriptions.setdefault(_key(subscription), written) != written:
            raise StaleWrite("there is one of this number")

    def save(self, before: Subscription, after: Subscription) -> None:
        kept = self._store.subscriptions.get(_key(after))
        if kept is None or Subscription.model_validate_json(kept).revision != before.revision:
            raise StaleWrite("a webhook was changed by another writer")
        self._store.subscriptions[_key(after)] = after.model_dump_json()

    def delete(self, subscription: Subscription) -> None:
        if self._store.subscriptions.get(_key(subscription)) == subscription.model_dump_json():
            del self._store.subscriptions[_key(subscription)]

    def due(self, moment: datetime) -> Iterator[str]:
        every = [Subscription.model_validate_json(one) for one in list(self._store.subscriptions.values())]
        return iter([one.job_id for one in every if one.due_at is not None and one.due_at <= moment])


def _key(subscription: Subscription) -> tuple[str, int]:
    return subscription.job_id, subscription.number


class MemorySigningSecrets:
    def __init__(self) -> None:
        self._kept: dict[str, SigningSecret] = {}

    def load(self, tenant: str) -> SigningSecret | None:
        return self._kept.get(tenant)

    def save(self, before: SigningSecret | None, after: SigningSecret) -> None:
        if self._kept.get(after.tenant) != before:
            raise StaleWrite("the signing secret was changed by another writer")
        self._kept[after.tenant] = after


class Unjournaled:
    """Calls without a journal: every call is made."""

    def __init__(self) -> None:
        self.paid: list[Call] = []
        self.stopped: BaseException | None = None

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        call = Call(digest=digest_of("", kind, request), nth=0, kind=kind, seconds=0, reply=pay())
        self.paid.append(call)
        return call.reply

    def ask(self, question: Question) -> Feedback:
        return question.accepted()

    def begin_task(self, name: str, agent: str, number: int, of: int) -> None: ...

    def end_task(self) -> None: ...

    def stop(self, error: BaseException) -> None:
        self.stopped = self.stopped or error

    def usage(self) -> Usage:
        return usage_of(self.paid)

    def journaled(self, kind: Kind) -> list[Reply]:
        return []

    job_id = str(UUID(int=0))
    is_last_attempt = False
    remaining = timedelta(minutes=15)


class MemoryDoorbell:
    """Records rings; when `out_of_order`, raises Unavailable as the queue does."""

    def __init__(self) -> None:
        self.rings: list[str] = []
        self.delays: list[timedelta] = []
        self.out_of_order = False
        self.depth = 0

    def waiting(self) -> int:
        if self.out_of_order:
            raise Unavailable("The queue did not answer.")
        return self.depth

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None:
        if self.out_of_order:
            raise Unavailable("The queue did not answer.")
        self.rings.append(job_id)
        self.delays.append(delay)


class MemoryTokens:
    """Tokens in memory; passes the same contract tests as the table (tests/integration/test_tokens_contract.py)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.kept: dict[str, Token] = {}

    def add(self, token: Token) -> None:
        self.kept[token.digest] = token

    def find(self, digest: str) -> Token | None:
        token = self.kept.get(digest)
        return token if token and token.expires_at > self._clock() else None

    def of(self, tenant: str | None = None) -> list[Token]:
        found = [t for t in self.kept.values() if t.expires_at > self._clock() and tenant in (None, t.tenant)]
        return sorted(found, key=lambda token: (token.created_at, token.digest))

    def revoke(self, token_id: str, now: datetime) -> Token:
        for token in self.of():
            if token.id == token_id:
                if token.revoked_at is None:
                    token = self.kept[token.digest] = token.model_copy(update={"revoked_at": now})
                return token
        raise UnknownToken(f"There is no token {token_id}.")


class MemoryBatches:
    """Batches in memory; passes the same contract tests as the engines (tests/integration/test_batch_store.py)."""

    def __init__(self, clock: Clock, subscriptions: MemorySubscriptions | None = None) -> None:
        self._clock = clock
        self.subscriptions = subscriptions or MemorySubscriptions(MemoryJobStore(clock))
        self._turn = threading.Lock()
        self._batches: dict[str, str] = {}
        self._chunks: dict[str, dict[int, tuple[BatchItem, ...]]] = {}
        self._outcomes: dict[str, dict[int, Outcomes]] = {}

    def create(self, batch: Batch, subscription: Subscription | None = None) -> Batch:
        with self._turn:
            existing = self._existing(batch.id)
            if existing is None:
                self._batches[batch.id] = batch.model_dump_json()
                self._chunks[batch.id], self._outcomes[batch.id] = {}, {}
                for left in self.subscriptions.of(subject_id(batch.id)):
                    self.subscriptions.delete(left)
                if subscription:
                    self.subscriptions.put(subscription)
                return batch
        if existing.digest != batch.digest:
            raise IdempotencyConflict("This idempotency key was already used with a different body.")
        return existing

    def load(self, batch_id: str, tenant: str | None) -> Batch | None:
        batch = self._existing(batch_id)
        return batch if batch and tenant in (None, batch.tenant) else None

    def save(self, before: Batch, after: Batch) -> None:
        with self._turn:
            existing = self._existing(after.id)
            if not existing or not existing.upload or not before.upload:
                raise StaleWrite(f"batch {after.id} is gone")
            if existing.upload.revision != before.upload.revision:
                raise StaleWrite(f"batch {after.id} was changed by another writer")
            self._batches[after.id] = after.model_dump_json()

    def due(self, moment: datetime) -> Iterator[str]:
        batches = [batch for batch_id in list(self._batches) if (batch := self._existing(batch_id))]
        return iter([one.id for one in batches if one.upload and one.upload.due_at and one.upload.due_at <= moment])

    def unfinished(self, tenant: str, most: int) -> int:
        batches = [batch for batch_id in list(self._batches) if (batch := self._existing(batch_id))]
        return min(most, sum(bool(one.upload and one.upload.due_at) for one in batches if one.tenant == tenant))

    def put_chunk(self, batch: Batch, number: int, items: Sequence[BatchItem]) -> tuple[BatchItem, ...]:
        return self._chunks[batch.id].setdefault(number, tuple(items))

    def replace_chunk(self, batch: Batch, number: int, items: Sequence[BatchItem]) -> None:
        self._chunks[batch.id][number] = tuple(items)

    def chunks(self, batch: Batch, first: int = 0) -> Iterator[tuple[int, tuple[BatchItem, ...]]]:
        return iter([each for each in sorted(self._chunks[batch.id].items()) if each[0] >= first])

    def outcomes(self, batch: Batch, first: int = 0) -> dict[int, Outcomes]:
        return {number: one for number, one in self._outcomes[batch.id].items() if number >= first}

    def put_outcomes(self, batch: Batch, number: int, letters: str) -> None:
        with self._turn:
            kept = self._outcomes[batch.id]
            kept[number] = kept.get(number, Outcomes())._replace(letters=letters)

    def reopen(self, batch_id: str, item: int, expires_at: datetime) -> None:
        number, place = divmod(item, CHUNK)
        with self._turn:
            kept = self._outcomes.setdefault(batch_id, {})
            before = kept.get(number, Outcomes())
            kept[number] = before._replace(reopened=before.reopened | {place})

    def _existing(self, batch_id: str) -> Batch | None:
        batch = Batch.model_validate_json(self._batches[batch_id]) if batch_id in self._batches else None
        return batch if batch and batch.expires_at > self._clock() else None
