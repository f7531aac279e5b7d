"""The real clock, ids and process, for the composition root; all other code takes them as arguments."""

import uuid
from datetime import UTC, datetime

from crewrelay.jobs.running.process import Process

this_process = Process()


def utcnow() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    return str(uuid.uuid4())
