"""The job store. Each transition is one transaction."""

import json
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from crewrelay.jobs.errors import DamagedJob, IdempotencyConflict, StaleWrite
from crewrelay.jobs.listing import Filter, Page, Position
from crewrelay.jobs.ports import Clock, JobRecord
from crewrelay.jobs.records.answer import Answer, File
from crewrelay.jobs.records.batch import subject_id
from crewrelay.jobs.records.event_log import ended_unread
from crewrelay.jobs.records.events import MOST_STORED, EventRow
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call
from crewrelay.jobs.records.questions import Question
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.subscriptions import insert
from crewrelay.sqlite.times import microseconds, moment

logger = logging.getLogger(__name__)

_PAGE = 100  # rows
_OF_TENANT = "+tenant = ?"  # with +, SQLite does not choose the index that has all jobs of the tenant
_CHILDREN = ("inputs", "answers", "questions", "calls", "events", "files", "subscriptions")
# One that was deleted and submitted again begins with the same fence, and its former holder may still write.
_SAME_JOB = "EXISTS (SELECT 1 FROM jobs WHERE id = ? AND created_at = ?)"
Model = TypeVar("Model", bound=BaseModel)


class SqliteJobStore:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, job: Job, job_input: JobInput, subscriptions: Sequence[Subscription] = ()) -> Job:
        with self._database.writing() as connection:
            existing = self._job(connection, job.id)
            if existing is None:
                _forget(connection, [job.id])  # an expired job of the same id
                connection.execute(
                    "INSERT INTO jobs VALUES (:id, :tenant, :status, :revision, :fence, :due_at, :unfinished,"
                    " :expires_at, :job, :created_at, :crew)",
                    _columns(job),
                )
                connection.execute("INSERT INTO inputs VALUES (?, ?)", (job.id, job_input.model_dump_json()))
                for subscription in subscriptions:
                    insert(connection, subscription)
                return job
        if existing.input_digest != job.input_digest:
            raise IdempotencyConflict("This idempotency key was already used with a different body.")
        return existing

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        with self._database.reading() as connection:
            row = self._row(connection, job_id)
            if row is None or tenant not in (None, row["tenant"]):
                return None
            job = _read(Job, job_id, row["job"])
            written = connection.execute("SELECT body FROM inputs WHERE job_id = ?", (job_id,)).fetchone()
            answered = connection.execute(
                "SELECT body FROM answers WHERE job_id = ? AND fence = ?", (job_id, job.fence)
            ).fetchone()
            asked = connection.execute(
                "SELECT body FROM questions WHERE job_id = ? AND id = ?", (job_id, job.question)
            ).fetchone()
        try:
            job_input = _read(JobInput, job_id, written and written["body"])
        except DamagedJob:
            if not job.status.finished:
                raise
            job_input = JobInput(crew=job.crew, inputs={})  # the reason of the failure is still readable
        if job.status is Status.WAITING:
            question = _read(Question, job_id, asked and asked["body"])
            return JobRecord(job, job_input, None, question=question)
        completed = job.status is Status.COMPLETED
        return JobRecord(job, job_input, _read(Answer, job_id, answered and answered["body"]) if completed else None)

    def jobs(self, job_ids: Sequence[str], tenant: str) -> list[Job]:
        asked = ", ".join("?" * len(job_ids))
        rows = self._unexpired(f"{_OF_TENANT} AND id IN ({asked})", (tenant, *job_ids))
        return list(_readable(rows))

    def statuses(self, job_ids: Sequence[str], tenant: str) -> dict[str, Status]:
        asked = ", ".join("?" * len(job_ids))
        rows = self._unexpired(f"{_OF_TENANT} AND id IN ({asked})", (tenant, *job_ids), columns="id, status")
        return {row["id"]: Status(row["status"]) for row in rows}

    def titles(self, job_ids: Sequence[str], tenant: str) -> dict[str, str]:
        own = [job.id for job in self.jobs(job_ids, tenant)]
        asked = ", ".join("?" * len(own))
        with self._database.reading() as connection:
            written = dict(
                connection.execute(f"SELECT job_id, body FROM inputs WHERE job_id IN ({asked})", own).fetchall()
            )
        found = {}
        for job_id, body in written.items():
            with suppress(DamagedJob):
                found[job_id] = _read(JobInput, job_id, body).title
        return found

    def listed(self, tenant: str, wanted: Filter, after: Position | None, limit: int) -> Page:
        conditions: dict[str, tuple[str | int, ...]] = {"tenant = ?": (tenant,)}
        if after:
            conditions["(created_at, id) < (?, ?)"] = (microseconds(after.created_at), after.job_id)
        if wanted.created_after:
            conditions["created_at > ?"] = (microseconds(wanted.created_after),)
        if wanted.status:
            conditions["status = ?"] = (wanted.status.value,)
        if wanted.crew is not None:
            conditions["crew = ?"] = (wanted.crew,)
        values = [value for some in conditions.values() for value in some]
        newest = f"ORDER BY created_at DESC, id DESC LIMIT {limit + 1}"
        rows = self._unexpired(" AND ".join(conditions), values, newest)
        page, last = rows[:limit], rows[limit - 1] if len(rows) > limit else None
        return Page(list(_readable(page)), Position(moment(last["created_at"]), last["id"]) if last else None)

    def _unexpired(
        self, condition: str, values: Sequence[str | int], order: str = "", columns: str = "id, created_at, job"
    ) -> list[sqlite3.Row]:
        with self._database.reading() as connection:
            return connection.execute(
                f"SELECT {columns} FROM jobs WHERE {condition} AND (expires_at > ? OR due_at IS NOT NULL) {order}",
                (*values, self._now()),
            ).fetchall()

    def save(self, before: Job, after: Job) -> None:
        """Compare-and-set on revision, status, fence and holder. A claim or renewal need not be durable: if a power
        failure undoes it, its holder is gone, too.
        """
        values = _columns(after)
        old = {
            "old_revision": before.revision,
            "old_status": before.status.value,
            "old_fence": before.fence,
            "old_holder": before.holder,
        }
        with self._database.writing(durable=after.status is not Status.RUNNING) as connection:
            done = connection.execute(
                "UPDATE jobs SET status = :status, revision = :revision, fence = :fence, due_at = :due_at,"
                " unfinished = :unfinished, expires_at = :expires_at, job = :job"
                " WHERE id = :id AND revision = :old_revision AND status = :old_status AND fence = :old_fence"
                " AND json_extract(job, '$.holder') IS :old_holder",
                values | old,
            )
            if done.rowcount:
                return
            existing = connection.execute("SELECT job FROM jobs WHERE id = ?", (after.id,)).fetchone()
        if existing is None or existing["job"] != values["job"]:  # else a repeated write
            raise StaleWrite(f"job {after.id} was changed by another writer")

    def delete(self, job: Job) -> None:
        with self._database.writing() as connection:
            existing = connection.execute("SELECT revision, status FROM jobs WHERE id = ?", (job.id,)).fetchone()
            if existing and tuple(existing) != (job.revision, job.status.value):
                raise StaleWrite(f"job {job.id} was changed by another writer")
            _forget(connection, [job.id])

    def put_answer(self, job: Job, answer: Answer) -> None:
        """Becomes durable with the save that completes the job."""
        with self._database.writing(durable=False) as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO answers SELECT ?, ?, ? WHERE {_SAME_JOB}",
                (job.id, job.fence, answer.model_dump_json(), *_same(job)),
            )

    def put_question(self, job: Job, question_id: str, question: Question) -> None:
        """Becomes durable with the save after which the job waits for it."""
        with self._database.writing(durable=False) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO questions SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?)",
                (job.id, question_id, question.model_dump_json(), job.id),
            )

    def put_file(self, job: Job, file: File) -> None:
        """Becomes durable with the save that completes the job."""
        with self._database.writing(durable=False) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO files SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?)",
                (job.id, file.digest, file.content, job.id),
            )

    def read_file(self, job: Job, file: File) -> bytes | str | None:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT content FROM files WHERE job_id = ? AND digest = ?", (job.id, file.digest)
            ).fetchone()
        return row and bytes(row["content"])

    def put_events(self, job: Job, row: EventRow) -> None:
        """Becomes durable with the save that takes them out of the job's row."""
        with self._database.writing(durable=False) as connection:
            connection.execute(
                f"INSERT INTO events SELECT ?, ?, ? WHERE {_SAME_JOB} ON CONFLICT DO UPDATE"
                " SET entries = excluded.entries WHERE length(excluded.entries) > length(entries)",
                (job.id, row.first, json.dumps(row.entries), *_same(job)),
            )

    def events(self, job: Job, after: int = 0) -> list[EventRow]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT first, entries FROM events WHERE job_id = ? AND first > ? ORDER BY first",
                (job.id, after - MOST_STORED),
            ).fetchall()
        return [EventRow(row["first"], [tuple(each) for each in json.loads(row["entries"])]) for row in rows]

    def put_call(self, job: Job, call: Call) -> Call:
        key = (job.id, call.digest, call.nth)
        with self._database.writing() as connection:
            existing = connection.execute(
                "SELECT body FROM calls WHERE job_id = ? AND digest = ? AND nth = ? AND expires_at > ?",
                (*key, self._now()),
            ).fetchone()
            if existing is None:
                entry, body = call.without_body().model_dump_json(), call.model_dump_json()
                connection.execute(
                    "INSERT OR REPLACE INTO calls SELECT ?, ?, ?, ?, ?, ?"
                    " WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?)",
                    (*key, entry, body, microseconds(job.expires_at), job.id),
                )
                return call
        return _read(Call, job.id, existing["body"])

    def journal(self, job: Job) -> Iterator[Call]:
        return self._calls(job, "body")

    def entries(self, job: Job) -> list[Call]:
        return list(self._calls(job, "entry"))

    def _calls(self, job: Job, column: str) -> Iterator[Call]:
        """Read in pages: a reader that stays keeps the log from being checkpointed."""
        digest, nth = "", -1
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(
                    f"SELECT digest, nth, {column} AS call FROM calls WHERE job_id = ? AND (digest, nth) > (?, ?)"
                    f" AND expires_at > ? ORDER BY digest, nth LIMIT {_PAGE}",
                    (job.id, digest, nth, self._now()),
                ).fetchall()
            if not rows:
                return
            digest, nth = rows[-1]["digest"], rows[-1]["nth"]
            yield from (_read(Call, job.id, row["call"]) for row in rows)

    def due(self, status: Status, moment: datetime) -> Iterator[str]:
        due_at, job_id = -1, ""
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(
                    "SELECT due_at, id FROM jobs WHERE status = ? AND due_at <= ? AND (due_at, id) > (?, ?)"
                    f" ORDER BY due_at, id LIMIT {_PAGE}",
                    (status.value, microseconds(moment), due_at, job_id),
                ).fetchall()
            if not rows:
                return
            due_at, job_id = rows[-1]["due_at"], rows[-1]["id"]
            yield from (row["id"] for row in rows)

    def unfinished(self, tenant: str, most: int) -> int:
        with self._database.reading() as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE unfinished = ? LIMIT ?)", (tenant, most)
            ).fetchone()
        return int(count)

    def count_unfinished(self) -> int:
        """Of all tenants, without those that wait for a human."""
        with self._database.reading() as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM jobs WHERE due_at IS NOT NULL AND status <> 'waiting'"
            ).fetchone()
        return int(count)

    def end_damaged(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT job FROM jobs WHERE id = ? AND due_at <= ?", (job_id, microseconds(due_before))
            ).fetchone()
        if row is None:
            return False
        try:
            job = _read(Job, job_id, row["job"])
            self.save(job, ended_unread(job, error, now))
        except DamagedJob:
            return self._patch_ended(job_id, error, now, due_before)
        except StaleWrite:
            return False
        return True

    def _patch_ended(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        """The JSON, which is no Job, if it is JSON at all."""
        ended = {"status": Status.FAILED.value, "error": error.model_dump_json(), "now": _text(now)}
        with self._database.writing() as connection:
            done = connection.execute(
                "UPDATE jobs SET status = :status, due_at = NULL, unfinished = NULL, job = CASE WHEN json_valid(job)"
                " THEN json_set(job, '$.status', :status, '$.error', json(:error), '$.finished_at', :now,"
                " '$.due_at', NULL, '$.holder', NULL, '$.lease_until', NULL, '$.not_before', NULL) ELSE job END"
                " WHERE id = :id AND due_at <= :before",
                {**ended, "id": job_id, "before": microseconds(due_before)},
            )
            return done.rowcount > 0

    def delete_expired(self) -> int:
        """A few at a time, with their bodies: other writers wait meanwhile. Unfinished ones end first, for a job may
        have been accepted, or be looked at, while the clock is wrong.
        """
        now = self._now()
        with self._database.writing(durable=False) as connection:
            rows = connection.execute(
                "SELECT id FROM jobs WHERE expires_at <= ? AND due_at IS NULL LIMIT ?", (now, _PAGE)
            )
            found = [row["id"] for row in rows]
            _forget(connection, found)
            ended = connection.execute("SELECT id FROM batches WHERE expires_at <= ?", (now,)).fetchall()
            for table in ("tokens", "batches"):
                connection.execute(f"DELETE FROM {table} WHERE expires_at <= ?", (now,))
            if ended:
                for table in ("chunks", "outcomes"):
                    connection.execute(f"DELETE FROM {table} WHERE batch_id NOT IN (SELECT id FROM batches)")
                told = [(subject_id(row["id"]),) for row in ended]
                connection.executemany("DELETE FROM subscriptions WHERE job_id = ?", told)
        return len(found)

    def _job(self, connection: sqlite3.Connection, job_id: str) -> Job | None:
        row = self._row(connection, job_id)
        return None if row is None else _read(Job, job_id, row["job"])

    def _row(self, connection: sqlite3.Connection, job_id: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = connection.execute(
            "SELECT tenant, job FROM jobs WHERE id = ? AND (expires_at > ? OR due_at IS NOT NULL)",
            (job_id, self._now()),
        ).fetchone()
        return found

    def _now(self) -> int:
        return microseconds(self._clock())


def _same(job: Job) -> tuple[str, int]:
    return job.id, microseconds(job.created_at)


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _columns(job: Job) -> dict[str, str | int | None]:
    counts = job.capped and not job.status.finished
    return {
        "id": job.id,
        "tenant": job.tenant,
        "status": job.status.value,
        "revision": job.revision,
        "fence": job.fence,
        "due_at": None if job.due_at is None else microseconds(job.due_at),
        "unfinished": job.tenant if counts else None,
        "expires_at": microseconds(job.expires_at),
        "job": job.model_dump_json(),
        "created_at": microseconds(job.created_at),
        "crew": job.crew,
    }


def _read(model: type[Model], job_id: str, written: str | None) -> Model:
    try:
        return model.model_validate_json(written or "")
    except ValidationError as error:
        raise DamagedJob(f"What the file holds of job {job_id} can't be read: {type(error).__name__}.") from error


def _readable(rows: list[sqlite3.Row]) -> Iterator[Job]:
    for row in rows:
        try:
            yield _read(Job, row["id"], row["job"])
        except DamagedJob as error:
            logger.error("%s", error)


def _forget(connection: sqlite3.Connection, job_ids: list[str]) -> None:
    keys = [(job_id,) for job_id in job_ids]
    connection.executemany("DELETE FROM jobs WHERE id = ?", keys)
    for table in _CHILDREN:
        connection.executemany(f"DELETE FROM {table} WHERE job_id = ?", keys)
