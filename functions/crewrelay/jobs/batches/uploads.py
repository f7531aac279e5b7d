"""Makes jobs of an uploaded file, one chunk of lines after the other. What was done is noted after each, so that any
process goes on where another stopped or died: a chunk is put once, and its jobs have the ids of their custom_ids.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from crewrelay.jobs.batches.held import HeldBatch
from crewrelay.jobs.batches.lines import Line
from crewrelay.jobs.batches.rows import Reader, Rows
from crewrelay.jobs.batches.wave import THREADS, cancel_wave, submit_wave
from crewrelay.jobs.errors import CrewrelayError, InvalidUpload, StaleWrite, TooManyJobs, Unavailable
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.log_keys import logged_with
from crewrelay.jobs.ports import Clock, Doorbell, JobStore
from crewrelay.jobs.records.batch import (
    CHUNK,
    LARGEST_FILE,
    MOST_LINES,
    BatchItem,
    BatchStore,
    Outcomes,
    UploadFiles,
    UploadState,
)
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.submission import Submission, ring
from crewrelay.jobs.text import ended

logger = logging.getLogger(__name__)

_COUNTED = 8 * 1024 * 1024  # bytes of a file whose lines are counted at once
_NEXT_LOOK = timedelta(minutes=5)  # for a file that has not come
_LATE = timedelta(minutes=15)  # due without anybody taking it: a look, and each step after it, puts that off
_MOST_RINGS = 100  # of a sweep


def ring_for_due(batches: BatchStore, bell: Doorbell, moment: datetime) -> int:
    """Ring for the uploads that were due then. Returns how many. Raises Unavailable."""
    due = list(islice(batches.due(moment), _MOST_RINGS))
    for batch_id in due:
        ring(bell, batch_id)
    return len(due)


def late(batches: BatchStore, now: datetime) -> int:
    """How many uploads have been due for so long that ringing does not help. Raises Unavailable."""
    return sum(1 for _ in islice(batches.due(now - _LATE), _MOST_RINGS))


class Uploads:
    def __init__(
        self,
        store: JobStore,
        batches: BatchStore,
        files: UploadFiles,
        submission: Submission,
        intervention: Intervention,
        bell: Doorbell,
        clock: Clock,
        policy: Policy,
        reader: Reader,
        pause: timedelta,
    ) -> None:
        """`pause`: until the next look when there is no room below the tenant's limit."""
        self._store = store
        self._batches = batches
        self._files = files
        self._submission = submission
        self._intervention = intervention
        self._bell = bell
        self._clock = clock
        self._policy = policy
        self._reader = reader
        self._pause = pause
        self._kept: Rows | None = None  # of the file that was read last: it waits for room, a second at a time

    def answer(self, batch_id: str, deadline: datetime) -> None:
        """Take a batch whose upload is due, and go on with it until the deadline. Never raises: it stays due."""
        with logged_with(batch_id=batch_id):
            try:
                batch = self._batches.load(batch_id, None)
                if batch and batch.upload and batch.upload.due_at and batch.upload.due_at <= self._clock():
                    with logged_with(correlation_id=batch.upload.correlation_id):
                        held = HeldBatch.taken(self._batches, batch, self._clock, self._policy.lease)
                        self._go_on(held, deadline)
            except StaleWrite:
                logger.info("another process goes on with this batch")
            except Exception:
                logger.exception("could not go on with a batch")

    def _go_on(self, held: HeldBatch, deadline: datetime) -> None:
        wait: timedelta | None = None
        try:
            with ThreadPoolExecutor(THREADS) as pool:
                wait = self._step_until(held, deadline, pool)
        except InvalidUpload as refusal:
            held.end(UploadState.FAILED, refusal)
        except Unavailable:
            logger.warning("a service did not answer", exc_info=True)
            wait = self._policy.first_backoff
        if held.upload.state.over:
            with suppress(Unavailable):  # it expires, too
                self._files.delete(held.batch)
        elif wait is not None:
            held.save(due_at=self._clock() + wait)
            ring(self._bell, held.batch.id, wait)

    def _step_until(self, held: HeldBatch, deadline: datetime, pool: ThreadPoolExecutor) -> timedelta | None:
        """How long to wait before the next step; None if it is over, or the file has yet to come."""
        rows, self._kept = self._kept, None  # not to be kept after an error
        if rows is None or not rows.go_on(held):
            rows = Rows(self._batches, self._files, held, self._reader)
        while not held.upload.state.over:
            if self._clock() >= deadline:
                self._kept = rows
                return timedelta()
            match held.upload.state:
                case UploadState.EXPECTED:
                    if not self._look_for_file(held):
                        return None
                case UploadState.CHECKING:
                    self._count_lines(held)
                case UploadState.CANCELLING:
                    self._cancel_chunk(held, pool)
                case _:
                    if wait := self._submit_chunk(held, rows, pool):
                        self._kept = rows
                        return wait
        return None

    def _look_for_file(self, held: HeldBatch) -> bool:
        now, upload, file = self._clock(), held.upload, self._files.find(held.batch)
        if file is None:
            if now >= upload.until:
                raise InvalidUpload("No file came in time.")
            held.save(due_at=min(now + _NEXT_LOOK, upload.until))
            return False
        if file.size > LARGEST_FILE:
            raise InvalidUpload(f"The file is larger than {LARGEST_FILE:,} bytes.")
        if file.size == 0:
            raise InvalidUpload("The file is empty.")
        held.save(state=UploadState.CHECKING, version=file.version, size=file.size)
        return True

    def _count_lines(self, held: HeldBatch) -> None:
        """Before any job is submitted."""
        upload = held.upload
        data = self._files.read(held.batch, upload.offset, min(_COUNTED, upload.size - upload.offset))
        offset, count = upload.offset + len(data), upload.lines + data.count(b"\n")
        over = offset >= upload.size
        if count + (over and not data.endswith(b"\n")) > MOST_LINES:
            raise InvalidUpload(f"The file has more than {MOST_LINES:,} lines.")
        if over:
            held.save(state=UploadState.SUBMITTING, offset=0, lines=0)
        else:
            held.save(offset=offset, lines=count)

    def _submit_chunk(self, held: HeldBatch, rows: Rows, pool: ThreadPoolExecutor) -> timedelta | None:
        """None if each line of it is a job now, or can't be one; else how long to wait."""
        read = rows.next()
        if not read:
            if not held.upload.items:
                raise InvalidUpload("All lines of the file are blank.")
            held.end(UploadState.SUBMITTED)
            return None
        number = held.upload.items // CHUNK
        items = self._batches.put_chunk(held.batch, number, [item for _, item, _ in read])
        inputs = {item.custom_id: job_input for _, item, job_input in read if job_input and not item.rejection}
        # A job that is gone was deleted, if its place is marked.
        gone = self._batches.outcomes(held.batch, number).get(number, Outcomes()).reopened if rows.resumed else ()
        wave = [
            (number * CHUNK + place, item)
            for place, item in enumerate(items)
            if not item.rejection and item.custom_id in inputs and place not in gone
        ]
        made = submit_wave(pool, self._store, self._submission, held.batch, wave, inputs, sparing=True)
        try:
            errors = {custom_id: each.error for custom_id, each in made.items() if each.error}
            if wait := self._noted([line for line, _, _ in read], items, errors, len(wave), held):
                return wait
        except StaleWrite:
            self._cancel_if_asked(held, items, pool)
            raise
        rows.resumed = False
        return None

    def _noted(
        self,
        read: Sequence[Line],
        items: Sequence[BatchItem],
        errors: Mapping[str, CrewrelayError],
        wave: int,
        held: HeldBatch,
    ) -> timedelta | None:
        """Go on after these lines, or return how long to wait before they are tried again."""
        faults = _faults(errors, wave)
        tries = held.upload.tries + bool(faults)
        refused = faults if tries >= self._policy.max_attempts else {}
        if wait := self._wait_after([error for one, error in errors.items() if one not in refused], tries):
            held.save(tries=tries)
            return wait
        if refused:
            held.save()
            items = [_rejected(line, item, refused) for line, item in zip(read, items, strict=True)]
            self._batches.replace_chunk(held.batch, held.upload.items // CHUNK, items)
        held.save(offset=read[-1].end, lines=read[-1].number, items=held.upload.items + len(items), tries=0)
        return None

    def _wait_after(self, errors: Sequence[CrewrelayError], tries: int) -> timedelta | None:
        if any(isinstance(error, TooManyJobs) for error in errors):
            return self._pause
        return self._policy.backoff(max(1, tries), jitter=1) if errors else None

    def _cancel_if_asked(self, held: HeldBatch, items: Sequence[BatchItem], pool: ThreadPoolExecutor) -> None:
        """Whoever cancels the batch may have been here before its last jobs were. Nobody holds it longer."""
        batch = self._batches.load(held.batch.id, None)
        if batch and batch.upload and batch.upload.state in (UploadState.CANCELLING, UploadState.CANCELLED):
            self._cancel(held, items, pool)
            if batch.upload.state is UploadState.CANCELLING:
                HeldBatch(self._batches, batch, self._clock, timedelta()).save()
                ring(self._bell, batch.id)

    def _cancel_chunk(self, held: HeldBatch, pool: ThreadPoolExecutor) -> None:
        walked = held.upload.walked
        chunk = next(iter(self._batches.chunks(held.batch, walked)), None)
        if chunk is None:
            return held.end(UploadState.CANCELLED)
        self._cancel(held, chunk[1], pool)
        held.save(walked=walked + 1)

    def _cancel(self, held: HeldBatch, items: Sequence[BatchItem], pool: ThreadPoolExecutor) -> None:
        ids = [held.batch.job_id(item) for item in items if not item.rejection]
        cancel_wave(pool, self._intervention, self._store.jobs(ids, held.batch.tenant))


def _faults(errors: Mapping[str, CrewrelayError], wave: int) -> dict[str, CrewrelayError]:
    """The errors that are their items' own, so that no more than a few tries make sense: an outage is all items'."""
    if any(isinstance(error, TooManyJobs) for error in errors.values()):
        return {}  # the others come first
    return {custom_id: error for custom_id, error in errors.items() if not error.outage or len(errors) < wave}


def _rejected(line: Line, item: BatchItem, refused: Mapping[str, CrewrelayError]) -> BatchItem:
    error = refused.get(item.custom_id)
    if error is None or item.rejection:
        return item
    return item.model_copy(update={"rejection": f"line {line.number}: {ended(str(error))} {error.remedy}"})
