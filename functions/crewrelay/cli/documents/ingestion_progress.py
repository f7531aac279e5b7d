"""How far `crewrelay ingest` is: the files done by their size, passages a second, and the time that is left."""

import time
from collections.abc import Iterable, Iterator
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from crewrelay.retrieval.reading.files import File


class IngestionProgress:
    """A context manager. Shows nothing unless standard error is a terminal; `summary` is for everybody."""

    def __init__(self, name: str, files: Iterable[File]) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("into {task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=sum(map(_size, files)), rate="")
        self._passages = 0
        self._left = 0.0  # of the current file's size

    def __enter__(self) -> Self:
        self._started, self._cpu = time.monotonic(), time.process_time()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def through(self, files: Iterable[File]) -> Iterator[File]:
        """The files; one is done when the next is asked for."""
        for file in files:
            self._size = self._left = _size(file)
            yield file
            self._advance(self._left)

    def embedded(self, passages: int, share: float) -> None:
        """See Ingestion."""
        self._passages += passages
        self._advance(share * self._size)
        self._bar.update(self._task, rate=f"{self._rate:.1f} passages/s")

    def summary(self) -> str:
        """Measured: passages a second, and the CPU that this process took for each."""
        if not self._passages:
            return ""
        each = (time.process_time() - self._cpu) / self._passages
        return f": {self._rate:.1f} a second, {each * 1000:.0f} ms of CPU each"

    @property
    def _rate(self) -> float:
        return self._passages / (time.monotonic() - self._started)

    def _advance(self, by: float) -> None:
        self._left -= by
        self._bar.update(self._task, advance=by)


def _size(file: File) -> float:
    try:
        return max(1, file.path.stat().st_size)
    except OSError:  # it is skipped, with the reason
        return 1
