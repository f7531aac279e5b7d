"""How far `crewrelay batch` is: a bar with rate and time left in a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from crewrelay.cli.batch.upload import State
from crewrelay.cli.terminal import note

if TYPE_CHECKING:
    from rich.progress import Progress

_BETWEEN = 10.0  # seconds between lines


class BatchProgress:
    """A context manager. `finished` lines had results before."""

    def __init__(self, lines: int, finished: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._first = finished
        self._clock = clock
        self._started, self._said_at, self._said = clock(), -_BETWEEN, ""
        self._bar = _bar() if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._bar:
            self._task = self._bar.add_task("", total=self._lines, completed=self._first, accepted="", rate="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, state: State) -> None:
        accepted = f"{state.accepted:,} submitted"
        if self._bar:
            rate = (state.finished - self._first) / max(self._clock() - self._started, 0.001)
            self._bar.update(self._task, completed=state.finished, accepted=accepted, rate=f"{rate:.1f}/s")
            return
        said = f"{accepted}, {state.finished:,} of {self._lines:,} finished"
        if said != self._said and self._clock() >= self._said_at + _BETWEEN:
            note(said)
            self._said, self._said_at = said, self._clock()


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[accepted]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        speed_estimate_period=300,
    )
