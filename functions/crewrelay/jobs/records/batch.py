"""A batch: many jobs of one request. The items of a small one are in its row; those of an uploaded file are in chunks,
which are written as the file is read. How far its jobs are is read from their rows.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from crewrelay.jobs.records.job import Failure, Status, keyed_id
from crewrelay.jobs.records.subscription import FIRST_LOOK_AT_BATCH, Subscription
from crewrelay.jobs.records.webhook import Webhook

MOST_ITEMS = 1000  # of a request
MOST_LINES = 100_000  # of a file
LARGEST_FILE = 200 * 1024 * 1024  # bytes
CHUNK = 100  # items

_LETTERS = {Status.COMPLETED: "c", Status.FAILED: "f", Status.CANCELLED: "x"}
_OPEN = "."
_SUBJECTS = uuid.UUID("463e99d5-8919-43a9-803b-5fa2b3e8c731")


class BatchItem(BaseModel):
    """`rejection` is what was wrong with an item that is no job."""

    model_config = ConfigDict(frozen=True)

    custom_id: str
    rejection: str = ""


class UploadState(StrEnum):
    EXPECTED = "expected"  # the file has not come yet
    CHECKING = "checking"  # its lines are counted
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"  # every line is a job or was rejected
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"  # the file was refused as a whole; `error` says why

    @property
    def over(self) -> bool:
        return self in (UploadState.SUBMITTED, UploadState.CANCELLED, UploadState.FAILED)


class Upload(BaseModel):
    """How far a file has been read. `due_at` is when somebody must look at it: whoever reads the file puts it off, and
    if that process dies another goes on.
    """

    model_config = ConfigDict(frozen=True)

    state: UploadState = UploadState.EXPECTED
    revision: int = 1  # of the row, checked by every write
    due_at: datetime | None
    until: datetime  # the file must have come by then
    collections: tuple[str, ...] = ()  # that its jobs may search
    correlation_id: str | None = None
    version: str = ""  # of the file, which must not change while it is read
    size: int = 0
    offset: int = 0  # bytes that were read
    lines: int = 0  # in them
    items: int = 0  # lines that are not blank
    tries: int = 0  # of the next chunk, at which some lines could not be submitted
    walked: int = 0  # chunks whose jobs were cancelled
    error: Failure | None = None


class Batch(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    tenant: str
    digest: str  # of the request
    created_at: datetime
    expires_at: datetime
    items: tuple[BatchItem, ...] = ()  # of a request
    upload: Upload | None = None

    def job_id(self, item: BatchItem) -> str:
        return keyed_id(self.tenant, f"batch:{self.id}:{item.custom_id}")

    @property
    def state(self) -> UploadState:
        """Items of a request are there at once."""
        return self.upload.state if self.upload else UploadState.SUBMITTED

    @property
    def total(self) -> int:
        """Items that are known."""
        return self.upload.items if self.upload else len(self.items)


def subject_id(batch_id: str) -> str:
    """The batch's id for webhooks. A job has the batch's own id if its idempotency key is `batch:` and the batch's."""
    return str(uuid.uuid5(_SUBJECTS, batch_id))


def subscribe_to_end(batch: Batch, webhook: Webhook) -> Subscription:
    return Subscription(
        job_id=subject_id(batch.id),
        tenant=batch.tenant,
        number=0,
        webhook=webhook,
        created_at=batch.created_at,
        expires_at=batch.expires_at,
        due_at=batch.created_at + FIRST_LOOK_AT_BATCH,
        batch=batch.id,
    )


class Outcomes(NamedTuple):
    """How the items of a chunk have ended: a letter each. A job that was retried or deleted is `reopened` before: it is
    read from its row ever after, so that no outcome is wrong, whoever writes it and when.
    """

    letters: str = ""
    reopened: frozenset[int] = frozenset()  # places in the chunk

    def status(self, place: int) -> Status | None:
        """None if it must be read."""
        letter = self.letters[place] if place < len(self.letters) and place not in self.reopened else _OPEN
        return next((status for status, other in _LETTERS.items() if other == letter), None)


def letters(statuses: Sequence[Status | None]) -> str:
    return "".join(_LETTERS.get(status, _OPEN) if status else _OPEN for status in statuses)


class BatchStore(Protocol):
    """Every method may raise Unavailable."""

    def create(self, batch: Batch, subscription: Subscription | None = None) -> Batch:
        """Put the batch with its subscription if absent or expired; else return the existing one. Raises
        IdempotencyConflict if that one's digest is another.
        """

    def load(self, batch_id: str, tenant: str | None) -> Batch | None:
        """A consistent read; None if the batch is unknown or expired, or not of `tenant`, if one is named."""

    def save(self, before: Batch, after: Batch) -> None:
        """Write how far the upload is. Raises StaleWrite if its revision is no longer that of `before`."""

    def due(self, moment: datetime) -> Iterator[str]:
        """Ids of batches whose upload was due at `moment`, by an eventually consistent index."""

    def unfinished(self, tenant: str, most: int) -> int:
        """The tenant's number of uploads that are not over, up to `most`, by an eventually consistent index."""

    def put_chunk(self, batch: Batch, number: int, items: Sequence[BatchItem]) -> tuple[BatchItem, ...]:
        """Put a chunk if absent; else return the existing one."""

    def replace_chunk(self, batch: Batch, number: int, items: Sequence[BatchItem]) -> None:
        """One that is there, by whoever holds the batch."""

    def chunks(self, batch: Batch, first: int = 0) -> Iterator[tuple[int, tuple[BatchItem, ...]]]:
        """The chunks from a number on that are there, with their numbers, in order."""

    def outcomes(self, batch: Batch, first: int = 0) -> Mapping[int, Outcomes]:
        """Of chunks from a number on. A consistent read."""

    def put_outcomes(self, batch: Batch, number: int, letters: str) -> None:
        """Of a chunk. What is reopened stays so."""

    def reopen(self, batch_id: str, item: int, expires_at: datetime) -> None:
        """Have an item read from its job's row from now on."""


class UploadForm(NamedTuple):
    """Where a file is sent: a form of these fields, with the file as the last one, `file`."""

    url: str
    fields: Mapping[str, str]


class UploadedFile(NamedTuple):
    size: int
    version: str


class IncomingFile(Protocol):
    """A file that is being received. May raise Unavailable."""

    def write(self, data: bytes) -> None: ...
    def keep(self, batch: Batch) -> None:
        """Under the batch's id and digest. It is on the disk before this returns."""

    def discard(self) -> None:
        """Nothing if it was kept."""


class UploadFiles(Protocol):
    """Every method may raise Unavailable."""

    def form(self, batch: Batch) -> UploadForm | None:
        """None where a file is received instead."""

    def receive(self) -> IncomingFile | None:
        """None where a file is sent by a form instead."""

    def find(self, batch: Batch) -> UploadedFile | None:
        """None if it is not there."""

    def read(self, batch: Batch, offset: int, length: int) -> bytes:
        """Of the upload's version of the file. Raises InvalidUpload if that is gone."""

    def delete(self, batch: Batch) -> None: ...
