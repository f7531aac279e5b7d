"""The lines of an uploaded file as items of its batch, one chunk after the other."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from crewrelay.jobs.access import Caller
from crewrelay.jobs.batches.held import HeldBatch
from crewrelay.jobs.batches.lines import Line, lines
from crewrelay.jobs.records.batch import CHUNK, BatchItem, BatchStore, UploadFiles
from crewrelay.jobs.records.job import JobInput


class ReadLine(NamedTuple):
    """What a line says: the input of a job, or what is wrong with it. `custom_id` is None if it names none."""

    custom_id: str | None
    job_input: JobInput | None
    rejection: str = ""


Reader = Callable[[Caller, Line], ReadLine]
Row = tuple[Line, BatchItem, JobInput | None]


class Rows:
    """The lines of a held batch that are not blank, with the items that they are. No two have the same custom_id: those
    of a whole file are in memory, which are 20 MB at most. Not to be used after an error.
    """

    def __init__(self, batches: BatchStore, files: UploadFiles, held: HeldBatch, reader: Reader) -> None:
        self._batches = batches
        self._files = files
        self._held = held
        self._reader = reader
        self._lines: Iterator[Line] | None = None
        self._numbers: dict[str, int] = {}  # of items, by custom_id
        self._first = 0  # number of the first item of `_chunk`
        self._chunk: list[Row] = []  # the last one that was read
        self.resumed = True  # the first chunk may have been begun by another process

    def go_on(self, held: HeldBatch) -> bool:
        """Go on with a batch that was given back and is held again. False if it is another one, or not where this one
        was left.
        """
        same = held.batch.id == self._held.batch.id and held.upload.version == self._held.upload.version
        if not same or held.upload.items not in (self._first, self._first + len(self._chunk)):
            return False
        self._held = held
        self.resumed = True
        return True

    def next(self) -> list[Row]:
        """Of the next chunk; none at the end. The same one again until it is noted in the batch."""
        upload = self._held.upload
        if self._chunk and upload.items == self._first:
            return self._chunk
        if self._lines is None:
            self._lines = lines(self._read, upload.size, upload.offset, upload.lines)
            self._remember(upload.items)
        there = (line for line in self._lines if line.text is None or line.text.strip())
        caller = Caller(tenant=self._held.batch.tenant, scopes=frozenset(), collections=upload.collections)
        read = [(line, self._reader(caller, line)) for line in islice(there, CHUNK)]
        self._first = upload.items
        self._chunk = [
            (line, self._item(number, line, told), told.job_input)
            for number, (line, told) in enumerate(read, upload.items)
        ]
        return self._chunk

    def _read(self, offset: int, length: int) -> bytes:
        return self._files.read(self._held.batch, offset, length)

    def _remember(self, before: int) -> None:
        for number, items in self._batches.chunks(self._held.batch):
            for place, item in enumerate(items, number * CHUNK):
                if place < before:
                    self._numbers.setdefault(item.custom_id, place)

    def _item(self, number: int, line: Line, told: ReadLine) -> BatchItem:
        custom_id = str(number) if told.custom_id is None else told.custom_id
        other = self._numbers.setdefault(custom_id, number)
        rejection = told.rejection
        if other != number and not rejection:
            rejection = f"custom_id: is the custom_id of item {other}, too"
        return BatchItem(custom_id=custom_id, rejection=f"line {line.number}: {rejection}" if rejection else "")
