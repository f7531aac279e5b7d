"""The store of batches."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from crewrelay.jobs.errors import IdempotencyConflict, StaleWrite
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.batch import CHUNK, Batch, BatchItem, Outcomes, subject_id
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.subscriptions import insert
from crewrelay.sqlite.times import microseconds

_PAGE = 50  # chunks


class SqliteBatches:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, batch: Batch, subscription: Subscription | None = None) -> Batch:
        with self._database.writing() as connection:
            row = connection.execute(
                "SELECT body FROM batches WHERE id = ? AND expires_at > ?", (batch.id, self._now())
            ).fetchone()
            if row is None:
                for table in ("chunks", "outcomes"):  # of an expired batch of the same id
                    connection.execute(f"DELETE FROM {table} WHERE batch_id = ?", (batch.id,))
                connection.execute(
                    "INSERT OR REPLACE INTO batches VALUES (:id, :tenant, :expires_at, :body, :due_at, :revision)",
                    _columns(batch),
                )
                connection.execute("DELETE FROM subscriptions WHERE job_id = ?", (subject_id(batch.id),))
                if subscription:
                    insert(connection, subscription)
                return batch
        existing = Batch.model_validate_json(row["body"])
        if existing.digest != batch.digest:
            raise IdempotencyConflict("This idempotency key was already used with a different body.")
        return existing

    def load(self, batch_id: str, tenant: str | None) -> Batch | None:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT tenant, body FROM batches WHERE id = ? AND expires_at > ?", (batch_id, self._now())
            ).fetchone()
        return None if row is None or tenant not in (None, row["tenant"]) else Batch.model_validate_json(row["body"])

    def save(self, before: Batch, after: Batch) -> None:
        assert before.upload
        with self._database.writing() as connection:
            done = connection.execute(
                "UPDATE batches SET body = :body, due_at = :due_at, revision = :revision"
                " WHERE id = :id AND revision = :before",
                _columns(after) | {"before": before.upload.revision},
            )
        if not done.rowcount:
            raise StaleWrite(f"batch {after.id} was changed by another writer")

    def due(self, moment: datetime) -> Iterator[str]:
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT id FROM batches WHERE due_at <= ? ORDER BY due_at LIMIT 100", (microseconds(moment),)
            ).fetchall()
        return iter([row["id"] for row in found])

    def unfinished(self, tenant: str, most: int) -> int:
        with self._database.reading() as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM (SELECT 1 FROM batches"
                " WHERE due_at IS NOT NULL AND tenant = ? AND expires_at > ? LIMIT ?)",
                (tenant, self._now(), most),
            ).fetchone()
        return int(count)

    def put_chunk(self, batch: Batch, number: int, items: Sequence[BatchItem]) -> tuple[BatchItem, ...]:
        body = _body(items)
        with self._database.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO chunks VALUES (?, ?, ?)", (batch.id, number, body))
            kept = connection.execute(
                "SELECT items FROM chunks WHERE batch_id = ? AND number = ?", (batch.id, number)
            ).fetchone()
        return _items(kept["items"])

    def replace_chunk(self, batch: Batch, number: int, items: Sequence[BatchItem]) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE chunks SET items = ? WHERE batch_id = ? AND number = ?", (_body(items), batch.id, number)
            )

    def chunks(self, batch: Batch, first: int = 0) -> Iterator[tuple[int, tuple[BatchItem, ...]]]:
        """Read in pages: a reader that stays keeps the log from being checkpointed."""
        while True:
            with self._database.reading() as connection:
                page = connection.execute(
                    "SELECT number, items FROM chunks WHERE batch_id = ? AND number >= ? ORDER BY number LIMIT ?",
                    (batch.id, first, _PAGE),
                ).fetchall()
            for row in page:
                yield row["number"], _items(row["items"])
            if len(page) < _PAGE:
                return
            first = page[-1]["number"] + 1

    def outcomes(self, batch: Batch, first: int = 0) -> dict[int, Outcomes]:
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT number, letters, reopened FROM outcomes WHERE batch_id = ? AND number >= ?", (batch.id, first)
            ).fetchall()
        return {row["number"]: Outcomes(row["letters"], frozenset(map(int, row["reopened"].split()))) for row in found}

    def put_outcomes(self, batch: Batch, number: int, letters: str) -> None:
        with self._database.writing(durable=False) as connection:
            connection.execute(
                "INSERT INTO outcomes VALUES (?, ?, ?, '') ON CONFLICT DO UPDATE SET letters = excluded.letters",
                (batch.id, number, letters),
            )

    def reopen(self, batch_id: str, item: int, expires_at: datetime) -> None:
        """Becomes durable with the write that it is for."""
        number, place = divmod(item, CHUNK)
        with self._database.writing(durable=False) as connection:
            connection.execute(
                "INSERT INTO outcomes VALUES (?, ?, '', ?)"
                " ON CONFLICT DO UPDATE SET reopened = reopened || ' ' || excluded.reopened",
                (batch_id, number, str(place)),
            )

    def _now(self) -> int:
        return microseconds(self._clock())


def _columns(batch: Batch) -> dict[str, str | int | None]:
    due_at = batch.upload and batch.upload.due_at
    return {
        "id": batch.id,
        "tenant": batch.tenant,
        "expires_at": microseconds(batch.expires_at),
        "body": batch.model_dump_json(),
        "due_at": microseconds(due_at) if due_at else None,
        "revision": batch.upload.revision if batch.upload else 0,
    }


def _body(items: Sequence[BatchItem]) -> str:
    return json.dumps([(item.custom_id, item.rejection) for item in items])


def _items(body: str) -> tuple[BatchItem, ...]:
    return tuple(BatchItem(custom_id=custom_id, rejection=rejection) for custom_id, rejection in json.loads(body))
