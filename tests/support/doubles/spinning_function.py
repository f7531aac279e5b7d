"""A Lambda function that says which process answers, and leaves crews behind that never come back or come back late."""

import os
import threading
import uuid
from concurrent.futures import Future
from typing import Any

from crewrelay.jobs.running.execution import on_own_thread
from crewrelay.jobs.running.stray import Stray
from crewrelay.system import this_process

started = str(uuid.uuid4())  # of this program in this process
over = threading.Event()


def spin() -> None:
    while True:
        pass


def come_back() -> None:
    over.wait()


CREWS = {"spins": spin, "comes back": come_back}


def handler(event: dict[str, str], _: Any) -> dict[str, Any]:
    over.set()
    if crew := CREWS.get(event.get("crew", "")):
        over.clear()
        ended: Future[None] = on_own_thread(crew, "crew")
        this_process.leave_behind(Stray("a job", "crew", ended, lambda: False))
        if crew is come_back:
            threading.Timer(0.2, over.set).start()
    return {"event": event, "pid": os.getpid(), "started": started, "threads": threading.active_count()}
