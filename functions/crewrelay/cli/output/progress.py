"""How a job goes on: a line that changes in a terminal, a line for each step elsewhere. All on standard error."""

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crewrelay.cli.jobs.follow import Progress
from crewrelay.cli.output import text
from crewrelay.cli.terminal import note
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.text import in_one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

_STEPS = {
    EventType.CLAIMED: "running",
    EventType.WAITING: "waiting for an answer",
    EventType.RESUMED: "answered",
    EventType.RELAYED: "relayed to another run",
    EventType.BACKED_OFF: "failed, and will be retried",
    EventType.RETRIED: "retried",
}


def shown(progresses: Iterable[Progress]) -> Progress:
    """Show each, and return the last."""
    *_, last = _live(progresses) if sys.stderr.isatty() else _in_lines(progresses)
    return last


def summary(progress: Progress) -> str:
    """Like completed in 12 s: 3 calls, 1,234 tokens, $0.0123."""
    spent = text.usage(progress.calls, progress.tokens, progress.cost)
    return f"{progress.status} in {text.seconds(progress.seconds)}: {spent}"


def task_of(progress: Progress) -> str:
    if not progress.task:
        return ""
    return in_one_line(f"task {progress.task} of {progress.tasks}: {progress.name} ({progress.agent})")


def _in_lines(progresses: Iterable[Progress]) -> Iterator[Progress]:
    for progress in progresses:
        for event in progress.news:
            if event["event"] == EventType.TASK_STARTED:
                of = max(event["task"], event["of"])
                note(in_one_line(f"task {event['task']} of {of}: {event['name']} ({event['agent']})"))
            elif step := _STEPS.get(event["event"]):
                note(step + (f": {in_one_line(event['error'])}" if event.get("error") else ""))
        yield progress


def _live(progresses: Iterable[Progress]) -> Iterator[Progress]:
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    latest, spinner, started = Progress(), Spinner("dots"), time.monotonic()
    ago = 0.0  # seconds that the job is older than this command

    def line() -> "RenderableType":
        done = text.usage(latest.calls, latest.tokens, latest.cost)
        parts = [latest.status.value, task_of(latest), done, text.seconds(time.monotonic() - started + ago)]
        spinner.update(text=Text(" · ".join(filter(None, parts)), overflow="ellipsis", no_wrap=True))
        return spinner

    with Live(get_renderable=line, console=Console(stderr=True), transient=True, refresh_per_second=8):
        for latest in progresses:
            if latest.begun and not ago:
                ago = max(0.0, (datetime.now(UTC) - latest.begun).total_seconds() - (time.monotonic() - started))
            yield latest
