"""Files of batches in a folder: uploads/<batch id>.<digest>.jsonl, and while they come uploads/<id>.part."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from crewrelay.events.records import Record
from crewrelay.jobs.errors import InvalidUpload, Unavailable
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.batch import Batch, UploadedFile
from crewrelay.sqlite.batches import SqliteBatches
from crewrelay.sqlite.database import sync

UPLOADS = "uploads"
_POLL = 0.5  # seconds between looks for a due upload
# Seconds without a write after which a file was left: an hour is long for the next megabyte of a request, and a file
# may stay a day longer than its batch.
_LEFT = {"*.part": 3_600.0, "*.jsonl": 31 * 86_400.0}


class FolderUploads:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def form(self, batch: Batch) -> None:
        return None

    def receive(self) -> "_PartFile":
        with _unavailable_if_it_fails():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._tidy()
            return _PartFile(self._folder)

    def find(self, batch: Batch) -> UploadedFile | None:
        try:
            return UploadedFile(_path(self._folder, batch).stat().st_size, batch.digest)
        except FileNotFoundError:
            return None

    def read(self, batch: Batch, offset: int, length: int) -> bytes:
        with _unavailable_if_it_fails():
            try:
                with _path(self._folder, batch).open("rb") as file:
                    return os.pread(file.fileno(), length, offset)
            except FileNotFoundError:
                raise InvalidUpload("The file was deleted while it was read.") from None

    def delete(self, batch: Batch) -> None:
        with _unavailable_if_it_fails():
            _path(self._folder, batch).unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Delete what processes that died have left."""
        for pattern, seconds in _LEFT.items():
            for path in self._folder.glob(pattern):
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > seconds:
                        path.unlink()


class _PartFile:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"{uuid4()}.part"
        self._file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def write(self, data: bytes) -> None:
        with _unavailable_if_it_fails():
            self._file.write(data)

    def keep(self, batch: Batch) -> None:
        with _unavailable_if_it_fails():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._path.rename(_path(self._folder, batch))
            sync(self._folder)

    def discard(self) -> None:
        with suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


class DueUploads:
    """A Queue of bells for the uploads that are due, as the intake queue has them on AWS."""

    def __init__(self, batches: SqliteBatches, clock: Clock) -> None:
        self._batches = batches
        self._clock = clock

    def receive(self, most: int, wait: int = 0) -> list[Record]:
        """One at a time: the file of jobs has one writer at a time, too."""
        if batch_id := next(self._batches.due(self._clock()), None):
            return [{"messageId": str(uuid4()), "body": f'{{"upload": "{batch_id}"}}', "eventSource": "aws:sqs"}]
        time.sleep(min(wait, _POLL))
        return []

    def delete(self, records: list[Record]) -> None:
        pass

    def ring(self, job_id: str, delay: object = None) -> None:
        """Nothing: the row says when it is due."""

    def waiting(self) -> int:
        return 0


def _path(folder: Path, batch: Batch) -> Path:
    return folder / f"{batch.id}.{batch.digest[:16]}.jsonl"


@contextmanager
def _unavailable_if_it_fails() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"The folder of uploads can't be used: {error.strerror}. Make room if it is full.") from error
