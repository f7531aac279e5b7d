"""A crew that still runs after its run has ended."""

import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple


class Stray(NamedTuple):
    """`crew` is done when the thread named `thread` ends. `waits_for_reply` is true while a call is in flight, false
    in an endless parser or tool.
    """

    job_id: str
    thread: str
    crew: Future[Any]
    waits_for_reply: Callable[[], bool]
    looks: int = 0  # checks that found it waiting

    @property
    def where(self) -> list[str]:
        """The last frames of its current stack."""
        frames = sys._current_frames()
        thread = next((thread for thread in threading.enumerate() if thread.name == self.thread), None)
        frame = frames.get(thread.ident) if thread and thread.ident else None
        steps = traceback.extract_stack(frame)[-5:] if frame else []
        return [f"{step.filename}:{step.lineno} {step.name}" for step in steps]

    @property
    def told_where(self) -> str:
        """The innermost frame in short, for the job's owner."""
        path, _, name = (self.where or [""])[-1].partition(" ")
        return f"{Path(path).name} {name}" if name else "code of its own"
