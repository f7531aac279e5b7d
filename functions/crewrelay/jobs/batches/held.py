"""A batch whose file this process reads: no other does while it is held, and what was done is noted by each write."""

from datetime import timedelta
from typing import Any, Self

from crewrelay.jobs.errors import CrewrelayError
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.batch import Batch, BatchStore, Upload, UploadState
from crewrelay.jobs.records.job import Failure


class HeldBatch:
    """`hold` is for how long, from each write on."""

    def __init__(self, batches: BatchStore, batch: Batch, clock: Clock, hold: timedelta) -> None:
        self.batch = batch
        self._batches = batches
        self._clock = clock
        self._hold = hold

    @classmethod
    def taken(cls, batches: BatchStore, batch: Batch, clock: Clock, hold: timedelta) -> Self:
        """Raises StaleWrite if another process has taken it."""
        held = cls(batches, batch, clock, hold)
        held.save()
        return held

    @property
    def upload(self) -> Upload:
        assert self.batch.upload
        return self.batch.upload

    def save(self, **changes: Any) -> None:
        """Raises StaleWrite if another process has taken it, or it is to be cancelled."""
        changes = {"due_at": self._clock() + self._hold, "revision": self.upload.revision + 1} | changes
        upload = Upload.model_validate(self.upload.model_dump() | changes)
        after = self.batch.model_copy(update={"upload": upload})
        self._batches.save(self.batch, after)
        self.batch = after

    def end(self, state: UploadState, error: CrewrelayError | None = None) -> None:
        self.save(state=state, due_at=None, error=Failure.of(error) if error else None)
