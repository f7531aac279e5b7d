"""The intake folder: each line of a file `*.jsonl` put there is a message, as the intake queue has them on AWS.

    intake/topics.jsonl              waits; complete when it is moved there
    intake/taken/<id>.topics.jsonl   is being submitted; locked by its process, so that others leave it alone
    intake/done/<id>.topics.jsonl    every line is a job or was rejected
    intake/topics.jsonl.rejected     its rejected lines (rejected.py)

A process that dies leaves its file in `taken`; the next one reads it from the start, and submits each line under the
same idempotency key: the file's id and the line's number.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO
from uuid import uuid4

from crewrelay.events.records import Record
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.sqlite.rejected import RejectedLines

_SETTLED = 1.0  # seconds since its last change before a file counts as complete
_POLL = 1.0  # seconds between looks at an empty folder, and before more is received after all of a batch has failed
_LONGEST_LINE = 1024 * 1024  # bytes


class IntakeFolder:
    """A Queue, for one thread. A message that isn't deleted is received again after the rest of its file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for part in ("taken", "done"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._rejected = RejectedLines(folder)
        self._file: IO[bytes] | None = None
        self._lines: Iterator[Record] = iter(())
        self._open: dict[str, Record] = {}  # received and not deleted
        self._failing = False  # nothing of what was received last has been deleted

    def receive(self, most: int, wait: int = 0) -> list[Record]:
        if self._failing or (self._file is None and not self._take()):
            threading.Event().wait(min(wait, _POLL))
        if self._file is None:
            return []
        try:
            received = list(islice(self._lines, most))
        except BaseException:  # a line can be neither read nor rejected: the file is read again from its start
            self._leave()
            raise
        if not received:
            received = list(self._open.values())[:most]
        if not received:
            self._finish()
        self._open |= {record["messageId"]: record for record in received}
        self._failing = bool(received)
        return received

    def delete(self, records: list[Record]) -> None:
        self._failing = False
        for record in records:
            self._open.pop(record["messageId"], None)

    def _take(self) -> bool:
        """Take the next file, first those of processes that have died."""
        for path in sorted((self._folder / "taken").iterdir()):
            if self._locked(path):
                return True
        for path in sorted(self._folder.glob("*.jsonl")):
            with suppress(FileNotFoundError):  # another process was faster
                if path.is_file() and os.access(path, os.R_OK) and time.time() - path.stat().st_mtime >= _SETTLED:
                    taken = path.rename(self._folder / "taken" / f"{uuid4()}.{path.name}")
                    return self._locked(taken)
        return False

    def _locked(self, path: Path) -> bool:
        file = path.open("rb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file, self._lines = file, self._records(file, path)
        return True

    def _records(self, file: IO[bytes], path: Path) -> Iterator[Record]:
        file_id, _, name = path.name.partition(".")
        (self._folder / f"{name}.rejected").unlink(missing_ok=True)  # of a process that has died, or an earlier file
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            record = _record(f"{file_id}:{number}", name, number)
            try:
                record["body"] = line.decode().strip()
            except UnicodeDecodeError:
                self._rejected.put(record, InvalidRequest("The line is not UTF-8."))
                continue
            if record["body"]:
                yield record

    def _finish(self) -> None:
        assert self._file is not None
        path = Path(self._file.name)
        path.rename(self._folder / "done" / path.name)
        self._leave()

    def _leave(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None
        self._open.clear()
        self._failing = False


def _record(message_id: str, file: str, line: int) -> Record:
    return {
        "messageId": message_id,
        "receiptHandle": message_id,
        "body": "",
        "attributes": {"file": file, "line": line},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }
