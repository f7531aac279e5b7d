"""Batches of files in memory, and the processes that read them."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from crewrelay.catalogue.drafts import read_line
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.batches.uploads import Uploads
from crewrelay.jobs.errors import InvalidUpload
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.batch import Batch, UploadedFile, UploadState
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.submission import Submission
from crewrelay.testing import MemoryBatches, MemoryDoorbell, MemoryJobStore, MemorySubscriptions
from tests.support.fixtures import HandSetClock
from tests.support.jobs import FAILURE

POLICY = Policy()
CALLER = Caller(tenant="acme", scopes=frozenset(Scope), collections=("news",))
INVOCATION = timedelta(seconds=30)


def line(custom_id: str | None = None, **changes: object) -> bytes:
    item = {"topic": "neural networks", "language": "en"} | ({} if custom_id is None else {"custom_id": custom_id})
    return json.dumps(item | changes).encode()


class MemoryFiles:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.version = "1"
        self.longest_read = 0

    def form(self, batch: Batch) -> None: ...
    def receive(self) -> None: ...

    def find(self, batch: Batch) -> UploadedFile | None:
        data = self.kept.get(batch.id)
        return None if data is None else UploadedFile(len(data), self.version)

    def read(self, batch: Batch, offset: int, length: int) -> bytes:
        assert batch.upload
        if batch.id not in self.kept or batch.upload.version != self.version:
            raise InvalidUpload("The file was replaced or deleted while it was read.")
        self.longest_read = max(self.longest_read, length)
        return self.kept[batch.id][offset : offset + length]

    def delete(self, batch: Batch) -> None:
        self.kept.pop(batch.id, None)


class Office:
    """What outlives processes; `process()` is a new one."""

    def __init__(self, clock: HandSetClock, most_unfinished: int | None = None) -> None:
        self.clock = clock
        self.table = MemoryJobStore(clock)
        self.subscriptions = MemorySubscriptions(self.table)
        self.kept = MemoryBatches(clock, self.subscriptions)
        self.files = MemoryFiles()
        self.doorbell, self.bell, self.notices = MemoryDoorbell(), MemoryDoorbell(), MemoryDoorbell()
        self.most_unfinished = most_unfinished
        self._ids: Iterator[str] = iter([f"id-{number}" for number in range(100)])

    def intervention(self, table: Any = None, kept: Any = None) -> Intervention:
        return Intervention(
            table or self.table, self.doorbell, self.clock, POLICY, self.most_unfinished, kept or self.kept
        )

    def submission(self, table: Any = None) -> Submission:
        return Submission(
            table or self.table, self.doorbell, self.clock, lambda: next(self._ids), POLICY, self.most_unfinished
        )

    def process(self, table: Any = None, kept: Any = None, files: Any = None) -> Uploads:
        return Uploads(
            table or self.table,
            kept or self.kept,
            files or self.files,
            self.submission(table),
            self.intervention(table, kept),
            self.bell,
            self.clock,
            POLICY,
            read_line,
            pause=timedelta(seconds=5),
        )

    @property
    def batches(self) -> Batches:
        return Batches(
            self.table,
            self.kept,
            self.files,
            self.submission(),
            self.intervention(),
            self.bell,
            self.clock,
            lambda: next(self._ids),
            POLICY,
            self.notices,
        )

    def upload(self, data: bytes | None) -> Batch:
        """A batch whose file is there, unless there is none."""
        batch = self.batches.of_file(CALLER, "digest", None, there=data is not None)
        if data is not None:
            self.files.kept[batch.id] = data
        return self.batches.commit(batch)

    def work(self, batch: Batch, process: Uploads | None = None) -> None:
        """A bell that is answered when the batch is due."""
        (process or self.process()).answer(batch.id, self.clock() + INVOCATION)

    def state(self, batch: Batch) -> tuple[UploadState, str]:
        upload = self.batches.of_tenant("acme", batch.id).upload
        assert upload
        return upload.state, upload.error.message if upload.error else ""

    def counts(self, batch: Batch) -> dict[str, int]:
        jobs, rejected = self.batches.counting.counts(self.batches.of_tenant("acme", batch.id))
        return {status.value: number for status, number in jobs.items()} | ({"rejected": rejected} if rejected else {})

    def items(self, batch: Batch) -> dict[str, str]:
        """The rejection of each item."""
        return {item.custom_id: item.rejection for _, items in self.batches.counting.chunks(batch) for item in items}

    def end_jobs(self, batch: Batch, status: Status = Status.COMPLETED) -> None:
        """Those that are pending."""
        for job in self.batches.jobs(batch):
            if job.status is Status.PENDING:
                running = transitions.claim(job, "me", "crew-1", self.clock(), POLICY)
                self.table.save(job, running)
                ended = (
                    transitions.complete(running, self.clock())
                    if status is Status.COMPLETED
                    else transitions.fail(running, FAILURE, self.clock())
                )
                self.table.save(running, ended)
