"""A crew that is still at work though its run is over."""

import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple


class Stray(NamedTuple):
    """`crew` is done when the thread of that name ends; `waits_for_reply` tells a call on its way from a parser, or a
    tool, that goes on and on.
    """

    job_id: str
    thread: str
    crew: Future[Any]
    waits_for_reply: Callable[[], bool]
    looks: int = 0  # that found it waiting

    @property
    def where(self) -> list[str]:
        """The last steps to where it is now."""
        frames = sys._current_frames()
        thread = next((thread for thread in threading.enumerate() if thread.name == self.thread), None)
        frame = frames.get(thread.ident) if thread and thread.ident else None
        steps = traceback.extract_stack(frame)[-5:] if frame else []
        return [f"{step.filename}:{step.lineno} {step.name}" for step in steps]

    @property
    def told_where(self) -> str:
        """The same in short, for the job's owner."""
        path, _, name = (self.where or [""])[-1].partition(" ")
        return f"{Path(path).name} {name}" if name else "code of its own"
