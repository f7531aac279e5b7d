"""A run without a journal."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from crewrelay.jobs.records.answer import Usage
from crewrelay.jobs.records.journal import Call, Kind, Reply, digest_of, usage_of
from crewrelay.jobs.records.questions import Feedback, Question


class Unjournaled:
    """Calls without a journal: every call is made."""

    def __init__(self) -> None:
        self.paid: list[Call] = []
        self.stopped: BaseException | None = None

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        call = Call(digest=digest_of("", kind, request), nth=0, kind=kind, seconds=0, reply=pay())
        self.paid.append(call)
        return call.reply

    def ask(self, question: Question) -> Feedback:
        return question.accepted()

    def begin_task(self, name: str, agent: str, number: int, of: int) -> None: ...

    def end_task(self) -> None: ...

    def stop(self, error: BaseException) -> None:
        self.stopped = self.stopped or error

    def usage(self) -> Usage:
        return usage_of(self.paid)

    def journaled(self, kind: Kind) -> list[Reply]:
        return []

    job_id = str(UUID(int=0))
    is_last_attempt = False
    remaining = timedelta(minutes=15)
