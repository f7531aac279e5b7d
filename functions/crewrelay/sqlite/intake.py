"""The intake folder: each line of a file `*.jsonl` put there is a message, as the intake queue has them on AWS.

    intake/topics.jsonl              waits; complete when it is moved there
    intake/taken/<id>.topics.jsonl   is being submitted; locked by its process, so that others leave it alone
    intake/done/<id>.topics.jsonl    every line is a job or was rejected
    intake/done/<id>.topics.jsonl.rejected   its rejected lines (rejected.py)

A process that dies leaves its file in `taken`; the next one reads it from the start, and submits each line under the
same idempotency key: the file's id and the line's number.
"""

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from uuid import uuid4

from crewrelay.events.records import Record
from crewrelay.sqlite.database import sync
from crewrelay.sqlite.rejected import DONE, rejected_of

logger = logging.getLogger(__name__)

_SETTLED = 1.0  # seconds since its last change before a file counts as complete
_POLL = 1.0  # seconds between looks at an empty folder
_LONGEST_LINE = 1024 * 1024  # bytes
TAKEN = "taken"


class IntakeFolder:
    """A Queue, for one thread. While a message is not deleted it is received again, and none after it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for part in (TAKEN, DONE):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._file: _TakenFile | None = None
        self._passed_over: set[Path] = set()  # what can't be read, said once

    def receive(self, most: int, wait: int = 0) -> list[Record]:
        if self._file is None:
            self._file = next(self._takeable(), None)
        if self._file is None:
            time.sleep(min(wait, _POLL))
            return []
        if self._file.open:
            time.sleep(min(wait, _POLL))  # a store that has failed gets time to recover
            return list(self._file.open.values())[:most]
        if received := self._file.read(most):
            return received
        if self._file.is_settled():
            self._file.path.rename(self._folder / DONE / self._file.path.name)
            sync(self._folder / DONE)
            self.close()
        else:
            time.sleep(min(wait, _POLL))  # somebody is still writing
        return []

    def delete(self, records: list[Record]) -> None:
        for record in records:
            if self._file:
                self._file.open.pop(record["messageId"], None)

    def close(self) -> None:
        """Leave the file that is being submitted to the next process."""
        if self._file:
            self._file.close()
        self._file = None

    def _takeable(self) -> Iterator["_TakenFile"]:
        """Files that nobody has: first those of processes that have died."""
        for path in sorted((self._folder / TAKEN).iterdir()):
            if taken := self._tried(path, path):
                yield taken
        for path in sorted(self._folder.glob("[!.]*.jsonl")):
            if taken := self._tried(path, self._folder / TAKEN / f"{uuid4()}.{path.name}"):
                yield taken

    def _tried(self, path: Path, to: Path) -> "_TakenFile | None":
        if path in self._passed_over:
            return None
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise OSError("it is no regular file")
            if path != to:
                if not _is_settled(path.stat()):
                    return None
                path.rename(to)
                sync(to.parent)  # or a power failure might bring it back, under another id
                sync(path.parent)
            if taken := _TakenFile.locked(to):
                rejected_of(self._folder, to.name).unlink(missing_ok=True)  # of a process that has died
            return taken
        except FileNotFoundError:  # another process was faster
            return None
        except OSError as error:
            self._passed_over.add(path)
            logger.error("%s can't be taken: %s", path, error)
            return None


class _TakenFile:
    """`open` are the messages that were received and not deleted, by id."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.open: dict[str, Record] = {}
        self._file = file
        self._id = path.name.partition(".")[0]
        self._lines = 0

    @classmethod
    def locked(cls, path: Path) -> "_TakenFile | None":
        """None if another process has it, or has just finished it. Raises OSError."""
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return cls(path, file)
        except BlockingIOError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()
        return None

    def read(self, most: int) -> list[Record]:
        """The next lines that aren't blank, none at the end."""
        received: list[Record] = []
        while len(received) < most and (line := self._line()):
            self._lines += 1
            if not line.isspace():
                received.append(self._record(line))
        self.open |= {record["messageId"]: record for record in received}
        return received

    def _line(self) -> bytes:
        """One that is too long comes without its end, so that it is rejected once. One without a line feed is read
        again while its file is being written.
        """
        start = self._file.tell()
        line = rest = self._file.readline(_LONGEST_LINE)
        while rest and not rest.endswith(b"\n"):
            rest = self._file.readline(_LONGEST_LINE)
        if line and not line.endswith(b"\n") and not rest and not self.is_settled():
            self._file.seek(start)
            return b""
        return line

    def is_settled(self) -> bool:
        """Whether everything was read, and nobody writes."""
        status = os.fstat(self._file.fileno())
        return self._file.tell() >= status.st_size and _is_settled(status)

    def _record(self, line: bytes) -> Record:
        encoding = "utf-8-sig" if self._lines == 1 else "utf-8"
        message_id = f"{self._id}:{self._lines}"
        return {
            "messageId": message_id,
            "receiptHandle": message_id,
            "body": line.decode(encoding, errors="surrogateescape").strip(),  # what isn't UTF-8 is no JSON
            "attributes": {"file": self.path.name, "line": self._lines},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
        }

    def close(self) -> None:
        self._file.close()


def _is_settled(status: os.stat_result) -> bool:
    return abs(time.time() - status.st_mtime) >= _SETTLED
