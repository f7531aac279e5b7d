"""What a caller does with batches: submit one, see how far it is, read its results, cancel it."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock
from typing import NamedTuple

from crewrelay.jobs.access import Caller
from crewrelay.jobs.batches.counting import Counting, Counts, parts
from crewrelay.jobs.batches.wave import NO_ROOM, THREADS, Submitted, cancel_wave, submit_wave
from crewrelay.jobs.errors import DamagedJob, StaleWrite, TooManyJobs, Unavailable, UnknownBatch
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.log_keys import correlation_id
from crewrelay.jobs.ports import Clock, Doorbell, JobRecord, JobStore, NewId
from crewrelay.jobs.records.batch import (
    CHUNK,
    Batch,
    BatchItem,
    BatchStore,
    Upload,
    UploadFiles,
    UploadState,
    subject_id,
    subscribe_to_end,
)
from crewrelay.jobs.records.job import Job, JobInput, keyed_id
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.subscription import FIRST_LOOK_AT_BATCH
from crewrelay.jobs.records.webhook import Webhook
from crewrelay.jobs.submission import Submission, ring

logger = logging.getLogger(__name__)

_READERS = 4  # each has a connection with a cache of its own
_TRIES = 5  # optimistic writes: whoever reads the file writes, too
MOST_UPLOADS = 10  # of a tenant, unfinished: 2 GB at most
_UPLOAD_WITHIN = timedelta(hours=1)
_FIRST_LOOK = timedelta(minutes=2)  # for a file whose sender never says that it is there
_MANY = 2000  # unfinished jobs of a batch
_GOOD_FOR = timedelta(seconds=10)  # their count


class _Counted(NamedTuple):
    at: datetime
    total: int  # items that the batch had
    counts: Counts

    def is_recent(self, now: datetime) -> bool:
        """Also if the clock was set back."""
        return timedelta() <= now - self.at < _GOOD_FOR


class Batches:
    def __init__(
        self,
        store: JobStore,
        batches: BatchStore,
        files: UploadFiles,
        submission: Submission,
        intervention: Intervention,
        bell: Doorbell,
        clock: Clock,
        new_id: NewId,
        policy: Policy,
        notices: Doorbell,
    ) -> None:
        """`bell` rings for uploads, `notices` for batches with a webhook."""
        self._store = store
        self._batches = batches
        self.files = files
        self._submission = submission
        self._intervention = intervention
        self._bell = bell
        self._notices = notices
        self._clock = clock
        self._new_id = new_id
        self._policy = policy
        self.counting = Counting(store, batches)
        self._turn = Lock()
        self._counted: dict[str, _Counted] = {}  # by batch
        self._received: Counter[str] = Counter()  # files that this process is receiving, by tenant

    def submit(
        self,
        tenant: str,
        items: Sequence[tuple[BatchItem, JobInput | None]],
        digest: str,
        key: str | None,
        end: datetime,
        webhook: Webhook | None = None,
    ) -> tuple[Batch, dict[str, Submitted]]:
        """Commit the batch, then its jobs. Returns what became of each item that was not rejected, by its custom_id.
        What there was no time for until `end`, or no room, is submitted when the same request is repeated. `webhook` is
        told when all have ended.

        Raises IdempotencyConflict, Unavailable, TooManyJobs if there is room for none (nothing was accepted).
        """
        new = self._new(tenant, digest, key, items=tuple(item for item, _ in items))
        if not self._submission.room(tenant, 1) and not self._batches.load(new.id, tenant):
            raise TooManyJobs(NO_ROOM)  # a repeated request adds no batch, and is answered
        batch = self._create(new, webhook)
        inputs = {item.custom_id: job_input for item, job_input in items if job_input and not item.rejection}
        wanted = [
            (number, item) for number, item in enumerate(batch.items) if not item.rejection and item.custom_id in inputs
        ]
        submitted: dict[str, Submitted] = {}
        with ThreadPoolExecutor(THREADS) as pool:
            for wave in parts(wanted, CHUNK):
                if self._clock() < end:
                    submitted |= submit_wave(pool, self._store, self._submission, batch, wave, inputs)
                else:
                    late = Submitted(error=Unavailable("There was no time for this item."))
                    submitted |= {item.custom_id: late for _, item in wave}
        return batch, submitted

    @contextmanager
    def receiving(self, tenant: str, key: str | None) -> Iterator[None]:
        """Around the request that brings a file, which counts from its beginning. Raises TooManyJobs, Unavailable."""
        with self._turn:
            self._received[tenant] += 1
            received = self._received[tenant]
        try:
            repeated = key and self._batches.load(_keyed(tenant, key), tenant)  # it adds no batch
            kept = 0 if repeated else self._batches.unfinished(tenant, MOST_UPLOADS)
            if kept + received > MOST_UPLOADS:
                raise TooManyJobs(f"The jobs of {MOST_UPLOADS} files are yet to be submitted, which is the limit.")
            yield
        finally:
            with self._turn:
                self._received -= Counter([tenant])  # keeps no zero

    def of_file(self, caller: Caller, digest: str, key: str | None, *, there: bool) -> Batch:
        """A batch whose file is `there`, or comes within an hour. It is yet to be committed."""
        now = self._clock()
        upload = Upload(
            due_at=now if there else now + _FIRST_LOOK,
            until=now + _UPLOAD_WITHIN,
            collections=caller.collections,
            correlation_id=correlation_id(),
        )
        return self._new(caller.tenant, digest, key, upload=upload)

    def commit(self, batch: Batch, webhook: Webhook | None = None) -> Batch:
        """Returns the one that stands, if the same request came before. Raises IdempotencyConflict, Unavailable."""
        batch = self._create(batch, webhook)
        self._ring(batch)
        return batch

    def _create(self, batch: Batch, webhook: Webhook | None) -> Batch:
        batch = self._batches.create(batch, subscribe_to_end(batch, webhook) if webhook else None)
        if webhook:
            ring(self._notices, subject_id(batch.id), FIRST_LOOK_AT_BATCH)
        return batch

    def _new(
        self,
        tenant: str,
        digest: str,
        key: str | None,
        items: tuple[BatchItem, ...] = (),
        upload: Upload | None = None,
    ) -> Batch:
        now = self._clock()
        return Batch(
            id=_keyed(tenant, key) if key else self._new_id(),
            tenant=tenant,
            digest=digest,
            created_at=now,
            expires_at=now + self._policy.keep,
            items=items,
            upload=upload,
        )

    def _ring(self, batch: Batch) -> None:
        if batch.upload and batch.upload.due_at and batch.upload.due_at <= self._clock():
            ring(self._bell, batch.id)

    def start(self, batch: Batch) -> Batch:
        """Have the file read, which is there. Nothing if it is being read, or was."""

        def started(upload: Upload) -> Upload:
            waits = upload.state is UploadState.EXPECTED
            return upload.model_copy(update={"due_at": self._clock()}) if waits else upload

        return self._change(batch, started)

    def _change(self, batch: Batch, change: Callable[[Upload], Upload]) -> Batch:
        for _ in range(_TRIES):
            if batch.upload is None:
                return batch
            upload = change(batch.upload)
            if upload == batch.upload:
                return batch
            upload = upload.model_copy(update={"revision": upload.revision + 1})
            changed = batch.model_copy(update={"upload": upload})
            try:
                self._batches.save(batch, changed)
            except StaleWrite:
                batch = self.of_tenant(batch.tenant, batch.id)
                continue
            self._ring(changed)
            return changed
        raise Unavailable(f"Batch {batch.id} is being changed by others; try again.")

    def of_tenant(self, tenant: str, batch_id: str) -> Batch:
        """Raises UnknownBatch, also for another tenant's batch."""
        batch = self._batches.load(batch_id, tenant)
        if batch is None:
            raise UnknownBatch(f"There is no batch {batch_id}.")
        return batch

    def jobs(self, batch: Batch) -> Iterator[Job]:
        for _, items in self.counting.chunks(batch):
            yield from self._store.jobs([batch.job_id(item) for item in items if not item.rejection], batch.tenant)

    def counts(self, batch: Batch) -> Counts:
        """If many jobs have not ended, they are counted once in some seconds."""
        now = self._clock()
        counted = self._counted.get(batch.id)
        if counted and counted.is_recent(now) and counted.total == batch.total:
            return counted.counts
        counts = self.counting.counts(batch)
        if counts.unfinished > _MANY:
            kept = {batch_id: each for batch_id, each in self._counted.items() if each.is_recent(now)}
            self._counted = kept | {batch.id: _Counted(now, batch.total, counts)}
        return counts

    def ended(self, batch: Batch, first: int) -> Iterator[tuple[int, BatchItem, JobRecord | None]]:
        """The items from a number on that have ended, with their numbers: rejected, or with a job. A job that can't be
        read is left out.
        """
        with ThreadPoolExecutor(_READERS) as pool:
            for chunk, items in self.counting.chunks(batch, first // CHUNK):
                some = [(number, item) for number, item in enumerate(items, chunk * CHUNK) if number >= first]
                ids = [batch.job_id(item) for _, item in some if not item.rejection]
                ended = {
                    job_id for job_id, status in self._store.statuses(ids, batch.tenant).items() if status.finished
                }
                there = [(n, item) for n, item in some if item.rejection or batch.job_id(item) in ended]
                for few in parts(there, _READERS):  # no more are in memory
                    records = pool.map(lambda each: self._record(batch, each[1]), few)
                    for (number, item), record in zip(few, records, strict=True):
                        if record or item.rejection:
                            yield number, item, record

    def _record(self, batch: Batch, item: BatchItem) -> JobRecord | None:
        if item.rejection:
            return None
        try:
            return self._store.load(batch.job_id(item), batch.tenant)
        except DamagedJob as error:
            logger.error("%s", error)
            return None

    def cancel(self, batch: Batch, end: datetime) -> Batch:
        """Cancel its jobs that have not ended, as many as there is time for. Those of a file are cancelled by whoever
        reads it, and no further ones are submitted.
        """
        if batch.upload:
            return self._change(batch, self._cancelling)
        with ThreadPoolExecutor(THREADS) as pool:
            for wave in parts(list(self.jobs(batch)), THREADS):
                if self._clock() < end:
                    cancel_wave(pool, self._intervention, wave)
        return batch

    def _cancelling(self, upload: Upload) -> Upload:
        """One that is being read stays with its reader, who finds out at its next write."""
        if upload.state in (UploadState.CANCELLING, UploadState.CANCELLED, UploadState.FAILED):
            return upload
        now = self._clock()
        held = upload.state in (UploadState.CHECKING, UploadState.SUBMITTING) and upload.due_at
        return upload.model_copy(update={"state": UploadState.CANCELLING, "due_at": held or now})


def _keyed(tenant: str, key: str) -> str:
    return keyed_id(tenant, f"batch:{key}")
