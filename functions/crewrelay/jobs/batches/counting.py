"""How far a batch is, read from the rows of its jobs. What of a file has ended is noted, and not read again."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records.batch import CHUNK, Batch, BatchItem, BatchStore, Outcomes, letters
from crewrelay.jobs.records.job import Status

_SUBMITTED_WITHIN = timedelta(hours=1)  # items of a request, and those that its sender repeats
T = TypeVar("T")


class Counts(NamedTuple):
    """Of a batch's jobs in each state, and of rejected items."""

    jobs: Counter[Status]
    rejected: int

    def of(self, batch: Batch) -> Mapping[str, int]:
        """By name. `missing` are no jobs: not submitted, or deleted."""
        known = self.rejected + self.jobs.total()
        states = {status.value: self.jobs[status] for status in Status}
        return {"total": max(batch.total, known), **states, "rejected": self.rejected, "missing": self.missing(batch)}

    @property
    def unfinished(self) -> int:
        return sum(number for status, number in self.jobs.items() if not status.finished)

    def missing(self, batch: Batch) -> int:
        return max(0, batch.total - self.rejected - self.jobs.total())


class Counting(NamedTuple):
    store: JobStore
    batches: BatchStore

    def chunks(self, batch: Batch, first: int = 0) -> Iterator[tuple[int, Sequence[BatchItem]]]:
        if batch.upload:
            return self.batches.chunks(batch, first)
        return iter(list(enumerate(parts(batch.items, CHUNK)))[first:])

    def counts(self, batch: Batch) -> Counts:
        jobs, rejected = Counter[Status](), 0
        known = self.batches.outcomes(batch) if batch.upload else {}
        for number, items in self.chunks(batch):
            statuses = self._statuses(batch, number, items, known.get(number, Outcomes()))
            jobs.update(status for status in statuses if status)
            rejected += sum(bool(item.rejection) for item in items)
        return Counts(jobs, rejected)

    def ended(self, batch: Batch, now: datetime) -> Counts | None:
        """None while an item has not ended. The last chunk is asked first: it mostly ends last."""
        if not batch.state.over:
            return None
        last = max(0, batch.total - 1) // CHUNK
        known = self.batches.outcomes(batch, last) if batch.upload else {}
        for number, items in self.chunks(batch, last):
            statuses = self._statuses(batch, number, items, known.get(number, Outcomes()))
            if not all(status.finished for status in statuses if status):
                return None
        counts = self.counts(batch)
        missing = batch.upload is None and counts.missing(batch) and now - batch.created_at < _SUBMITTED_WITHIN
        return None if missing or not all(status.finished for status in counts.jobs) else counts

    def _statuses(
        self, batch: Batch, number: int, items: Sequence[BatchItem], known: Outcomes
    ) -> Sequence[Status | None]:
        found = {place: known.status(place) for place, item in enumerate(items) if not item.rejection}
        wanted = {batch.job_id(items[place]): place for place, status in found.items() if status is None}
        read = self.store.statuses(list(wanted), batch.tenant) if wanted else {}
        found |= {wanted[job_id]: status for job_id, status in read.items()}
        statuses = [found.get(place) for place in range(len(items))]
        ended = sum(status.finished and wanted[job_id] not in known.reopened for job_id, status in read.items())
        if batch.upload and ended and 2 * ended >= len(wanted):  # few writes, and few reads of what has ended
            self.batches.put_outcomes(batch, number, letters(statuses))
        return statuses


def parts(items: Sequence[T], number: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), number):
        yield items[start : start + number]
