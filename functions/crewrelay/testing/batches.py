"""Batches, of requests and of uploaded files."""

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime

from crewrelay.jobs.errors import IdempotencyConflict, StaleWrite
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.batch import CHUNK, Batch, BatchItem, Outcomes, subject_id
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.testing.job_store import MemoryJobStore
from crewrelay.testing.webhooks import MemorySubscriptions


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
