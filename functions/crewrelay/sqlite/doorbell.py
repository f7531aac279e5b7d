"""The doorbell, and the notifier's: a row for each job to look at. A job that is rung for twice has one bell.

Its writes are not durable: if a power failure undoes them, the sweeper rings again.
"""

import time
from datetime import timedelta
from uuid import uuid4

from crewrelay.events.records import Record
from crewrelay.jobs.ports import Clock
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.times import microseconds

NOTICES = "notices"  # the table of the notifier's bells
_VISIBILITY_TIMEOUT = timedelta(minutes=15)  # as long as an invocation on Lambda may take
_LONGEST_DELAY = timedelta(hours=1)  # more than any backoff
_MOST_COUNTED = 10_000


class SqliteDoorbell:
    """`table` is bells or notices."""

    def __init__(self, database: Database, clock: Clock, table: str = "bells") -> None:
        self._database = database
        self._clock = clock
        self._table = table

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None:
        """Whoever has received an earlier bell of the job no longer deletes it."""
        visible_at = microseconds(self._clock() + delay)
        with self._database.writing(durable=False) as connection:
            connection.execute(
                f"INSERT INTO {self._table} VALUES (?, ?, NULL) ON CONFLICT DO UPDATE SET receipt = NULL, visible_at ="
                " iif(receipt IS NULL, min(visible_at, excluded.visible_at), excluded.visible_at)",
                (job_id, visible_at),
            )
        self._database.changes.notify()

    def waiting(self) -> int:
        """Up to 10,000."""
        with self._database.reading() as connection:
            (count,) = connection.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM {self._table} WHERE visible_at <= ? LIMIT ?)",
                (microseconds(self._clock()), _MOST_COUNTED),
            ).fetchone()
        return int(count)

    def receive(self, most: int, wait: int = 0) -> list[Record]:
        """Up to so many bells, which nobody else receives until the visibility timeout. Waits seconds for the first."""
        end = time.monotonic() + wait
        while True:
            seen, now, first = self._database.changes.seen(), microseconds(self._clock()), self._first()
            if first is not None and first <= now and (received := self._received(most, now)):
                return received
            left = end - time.monotonic()
            if left <= 0:
                return []
            if first is not None and first > now:
                left = min(left, (first - now) / 1e6)
            self._database.changes.wait(seen, left)

    def _first(self) -> int | None:
        with self._database.reading() as connection:
            (first,) = connection.execute(f"SELECT min(visible_at) FROM {self._table}").fetchone()
        return None if first is None else int(first)

    def _received(self, most: int, now: int) -> list[Record]:
        receipt = str(uuid4())
        with self._database.writing(durable=False) as connection:
            rows = connection.execute(
                f"SELECT job_id FROM {self._table} WHERE visible_at <= ? ORDER BY visible_at LIMIT ?", (now, most)
            ).fetchall()
            until = now + _VISIBILITY_TIMEOUT // timedelta(microseconds=1)
            connection.executemany(
                f"UPDATE {self._table} SET visible_at = ?, receipt = ? WHERE job_id = ?",
                [(until, receipt, row["job_id"]) for row in rows],
            )
        return [_record(row["job_id"], receipt) for row in rows]

    def delete(self, records: list[Record]) -> None:
        with self._database.writing(durable=False) as connection:
            connection.executemany(
                f"DELETE FROM {self._table} WHERE job_id = ? AND receipt = ?",
                [(record["body"], record["receiptHandle"]) for record in records],
            )

    def recover(self) -> None:
        """Make received bells visible, because those who received them are gone; and those beyond the longest delay,
        which a clock that was wrong has rung.
        """
        now = self._clock()
        with self._database.writing(durable=False) as connection:
            connection.execute(
                f"UPDATE {self._table} SET visible_at = ?, receipt = NULL WHERE receipt IS NOT NULL OR visible_at > ?",
                (microseconds(now), microseconds(now + _LONGEST_DELAY)),
            )


def _record(job_id: str, receipt: str) -> Record:
    """As in Lambda's SQS event."""
    return {
        "messageId": job_id,
        "receiptHandle": receipt,
        "body": job_id,
        "attributes": {},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }
