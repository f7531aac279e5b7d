"""Schemas of a job that waits for a human, and of the answer."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.questions import LONGEST_FEEDBACK, Feedback


class Waiting(BaseModel):
    """What a job waits for. `output` is what is to be judged, `task` what made it. Answer with one of the `options`,
    with text, or both; after `expires_at` the job goes on with the `default`, or fails if there is none.
    """

    id: str
    message: str
    task: str
    output: str
    options: list[str]
    default: str | None
    asked_at: datetime | None
    expires_at: datetime | None

    @classmethod
    def of(cls, record: JobRecord) -> Self | None:
        job, question = record.job, record.question
        if job.status is not Status.WAITING or question is None:
            return None
        return cls(
            id=job.question or "",
            **question.model_dump(include={"message", "task", "output", "default"}),
            options=list(question.options),
            asked_at=job.asked_at,
            expires_at=job.due_at,
        )


class Resumption(BaseModel):
    """The answer to what a job waits for: `feedback`, one of the options, or both. An empty feedback accepts the output
    as it is.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"id": "5d0c…#0", "feedback": "Shorter, please."}]},
    )

    id: Annotated[str, Field(max_length=100, description="The `id` of `waiting` in the job's status")]
    feedback: Annotated[str, Field(max_length=LONGEST_FEEDBACK)] | None = None
    option: Annotated[str, Field(max_length=LONGEST_FEEDBACK)] | None = Field(default=None, validate_default=True)

    @field_validator("option")
    @classmethod
    def _says_something(cls, option: str | None, info: ValidationInfo) -> str | None:
        if option is None and info.data.get("feedback", "") is None:
            raise ValueError("must be there if feedback is not")
        return option

    def given(self) -> Feedback:
        return Feedback(text=self.feedback or "", option=self.option)
