"""A question to a human. A job that asks one waits, without lease, thread or invocation, until somebody answers."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.records.job import Job
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.text import Line, Text

LONGEST_FEEDBACK = 20_000  # characters
_LONGEST_OUTPUT = 100_000  # characters
_CUT = "\n[The rest is left out: it is too long to be shown.]"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_OUTPUT else text[: _LONGEST_OUTPUT - len(_CUT)] + _CUT


class Feedback(BaseModel):
    """What a human says: text, one of the options, or both. An empty text means that the output is good as it is.
    `accepted`: the output is good whatever the text says. `expired`: nobody has said it in time, it is the default, or
    nothing if there is none.
    """

    model_config = ConfigDict(frozen=True)

    text: Annotated[Text, Field(max_length=LONGEST_FEEDBACK)] = ""
    option: Line | None = None
    accepted: bool = False
    expired: bool = False


class Question(BaseModel):
    """`output` is what the human is to judge, `task` the name of what made it. Unanswered after `timeout`, the job goes
    on with `default`, or fails if there is none.
    """

    model_config = ConfigDict(frozen=True)

    message: Annotated[Text, AfterValidator(_cut)]
    task: Line = ""
    output: Annotated[Text, AfterValidator(_cut)] = ""
    options: tuple[Line, ...] = ()
    must_choose: bool = False  # one of the options: a text alone is no answer
    default: Line | None = None
    timeout: timedelta | None = None  # None: the policy's

    def require_answer(self, feedback: Feedback) -> None:
        """Raises InvalidRequest if the feedback does not answer this question."""
        offered = ", ".join(self.options) or "none"
        if feedback.option is not None and feedback.option not in self.options:
            raise InvalidRequest(f"option: {feedback.option!r} is none of the options of this question: {offered}.")
        if self.must_choose and feedback.option is None:
            raise InvalidRequest(f"option: this question needs one of its options: {offered}.")

    def accepted(self) -> Feedback:
        """What somebody says who is content: the default, the first option, or nothing."""
        if self.default is None:
            return Feedback(option=self.options[0] if self.options else None)
        return self.expired()

    def expired(self) -> Feedback:
        if self.default in self.options:
            return Feedback(option=self.default, expired=True)
        return Feedback(text=self.default or "", expired=True)


def human_call(question_id: str, feedback: Feedback, job: Job, now: datetime) -> Call:
    """The journal entry of what was said, or of its expiry. The first one that is put counts."""
    digest, _, nth = question_id.rpartition("#")
    seconds = max(0.0, (now - (job.asked_at or now)).total_seconds())
    reply = Reply(body=feedback.model_dump_json())
    return Call(digest=digest, nth=int(nth), kind=Kind.HUMAN, seconds=seconds, fence=job.fence, at=now, reply=reply)


class AnswerNeeded(Exception):
    """The run has asked a question that nobody has answered yet. `id` is the key of the answer in the journal."""

    def __init__(self, question_id: str, question: Question) -> None:
        super().__init__(f"the question {question_id} is not answered yet")
        self.id = question_id
        self.question = question
