"""The store of subscriptions. A job's come with it, by `insert`, and go with it."""

import sqlite3
from collections.abc import Iterator
from datetime import datetime

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.times import microseconds

_PAGE = 100  # rows


class SqliteSubscriptions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, job_id: str) -> list[Subscription]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT body FROM subscriptions WHERE job_id = ? ORDER BY number", (job_id,)
            ).fetchall()
        return [Subscription.model_validate_json(row["body"]) for row in rows]

    def put(self, subscription: Subscription) -> None:
        with self._database.writing() as connection:
            if not connection.execute("SELECT 1 FROM jobs WHERE id = ?", (subscription.job_id,)).fetchone():
                return
            if not insert(connection, subscription):
                raise _stale(subscription)

    def save(self, before: Subscription, after: Subscription) -> None:
        with self._database.writing() as connection:
            done = connection.execute(
                "UPDATE subscriptions SET revision = :revision, due_at = :due_at, body = :body"
                " WHERE job_id = :job_id AND number = :number AND revision = :old",
                _columns(after) | {"old": before.revision},
            )
            if done.rowcount == 0:
                raise _stale(after)

    def delete(self, subscription: Subscription) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM subscriptions WHERE job_id = :job_id AND number = :number AND body = :body",
                _columns(subscription),
            )

    def due(self, moment: datetime) -> Iterator[str]:
        due_at, job_id, number = -1, "", -1
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(
                    "SELECT due_at, job_id, number FROM subscriptions WHERE due_at <= ?"
                    f" AND (due_at, job_id, number) > (?, ?, ?) ORDER BY due_at, job_id, number LIMIT {_PAGE}",
                    (microseconds(moment), due_at, job_id, number),
                ).fetchall()
            if not rows:
                return
            due_at, job_id, number = rows[-1]
            yield from (row["job_id"] for row in rows)


def insert(connection: sqlite3.Connection, subscription: Subscription) -> bool:
    """Whether there was none of its number."""
    done = connection.execute(
        "INSERT INTO subscriptions VALUES (:job_id, :number, :revision, :due_at, :body) ON CONFLICT DO NOTHING",
        _columns(subscription),
    )
    return done.rowcount > 0


def _columns(subscription: Subscription) -> dict[str, str | int | None]:
    due_at = subscription.due_at
    return {
        "job_id": subscription.job_id,
        "number": subscription.number,
        "revision": subscription.revision,
        "due_at": None if due_at is None else microseconds(due_at),
        "body": subscription.model_dump_json(),
    }


def _stale(subscription: Subscription) -> StaleWrite:
    return StaleWrite(f"a webhook of job {subscription.job_id} was changed by another writer")
