"""The store of batches."""

from crewrelay.jobs.batch import Batch
from crewrelay.jobs.errors import IdempotencyConflict
from crewrelay.jobs.ports import Clock
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.times import microseconds


class SqliteBatches:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, batch: Batch) -> Batch:
        with self._database.writing() as connection:
            row = connection.execute(
                "SELECT body FROM batches WHERE id = ? AND expires_at > ?", (batch.id, microseconds(self._clock()))
            ).fetchone()
            if row is None:
                values = (batch.id, batch.tenant, microseconds(batch.expires_at), batch.model_dump_json())
                connection.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)", values)
                return batch
        existing = Batch.model_validate_json(row["body"])
        if existing.digest != batch.digest:
            raise IdempotencyConflict("This idempotency key was already used with a different body.")
        return existing

    def load(self, batch_id: str, tenant: str) -> Batch | None:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT body FROM batches WHERE id = ? AND tenant = ? AND expires_at > ?",
                (batch_id, tenant, microseconds(self._clock())),
            ).fetchone()
        return None if row is None else Batch.model_validate_json(row["body"])
