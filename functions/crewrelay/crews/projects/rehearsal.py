"""Runs a project against a model's double, under a journal that a second run can be given."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from crewrelay.crews.journal.embedding import encoded as encoded_vectors
from crewrelay.crews.journal.replies import encoded
from crewrelay.crews.projects.model_double import answer_to, vector_of
from crewrelay.jobs.records.answer import Usage
from crewrelay.jobs.records.journal import Kind, Reply, digest_of
from crewrelay.jobs.records.questions import Feedback, Question
from crewrelay.jobs.running.run import RunStopped

MODEL = "crewrelay/double"
_PATIENCE = 20  # times that one question is answered


class Asked(BaseModel):
    """A call, in the order in which they were made."""

    key: str
    kind: Kind
    request: dict[str, Any]
    reply: str


class Rehearsed(BaseModel):
    """`ended` is the error that ended the run, if one did."""

    asked: list[Asked] = []
    ended: str | None = None


class RehearsedCalls:
    """The Calls port. What is not in the journal is made, but doubles of models and embedders answer, and knowledge
    finds nothing.
    """

    job_id = str(UUID(int=0))
    is_last_attempt = True
    remaining = timedelta(minutes=15)

    def __init__(self, journal: Rehearsed | None = None, answers: Sequence[str] = ()) -> None:
        self.rehearsed = Rehearsed()
        self._journal = {one.key: one.reply for one in (journal.asked if journal else ())}
        self._numbers: Counter[str] = Counter()
        self._turn = threading.Lock()
        self._answers = iter(answers)
        self._content: Counter[Question] = Counter()  # how often somebody was content

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        digest = digest_of("", kind, request)
        with self._turn:
            key = f"{digest}#{self._numbers[digest]}"
            self._numbers[digest] += 1
        body = self._journal.get(key)
        if body is None:
            body = _answered(kind, request) or pay().body
        request = json.loads(json.dumps(request))
        with self._turn:
            self.rehearsed.asked.append(Asked(key=key, kind=kind, request=request, reply=body))
        return Reply(body=body, model=MODEL)

    def ask(self, question: Question) -> Feedback:
        """The next of the answers; after these, what somebody says who is content."""
        with self._turn:
            given = next(self._answers, None)
            if given is not None:
                return Feedback(option=given) if given in question.options else Feedback(text=given)
            self._content[question] += 1
            if self._content[question] > _PATIENCE:
                error = RunStopped(f"it asks {question.message!r} again and again; give it an answer with --answer")
                self.stop(error)
                raise error
        return question.accepted()

    def begin_task(self, name: str, agent: str, number: int, of: int) -> None: ...

    def end_task(self) -> None: ...

    def journaled(self, kind: Kind) -> list[Reply]:
        return []

    def stop(self, error: BaseException) -> None:
        self.rehearsed.ended = self.rehearsed.ended or f"{type(error).__name__}: {error}"

    def usage(self) -> Usage:
        return Usage(model=MODEL)


def _answered(kind: Kind, request: dict[str, Any]) -> str:
    """What is told without a service; "" for what has to be called."""
    match kind:
        case Kind.MODEL:
            return encoded(answer_to(request), request)
        case Kind.RETRIEVAL:
            return encoded_vectors(map(vector_of, request.get("embed", ())))
        case _:
            return ""
