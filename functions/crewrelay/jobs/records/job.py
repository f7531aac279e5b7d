"""The job row and its input. transitions.py has what happens to it."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from crewrelay.jobs.errors import CrewrelayError
from crewrelay.jobs.records.events import Entry, EventType
from crewrelay.jobs.records.journal import Receipt
from crewrelay.jobs.records.webhook import Webhook
from crewrelay.jobs.text import Text, ended, in_one_line

_KEYED_JOBS = uuid.UUID("6f1c0f0e-6d0e-5c59-9a53-0b0d7f1f5e11")


def keyed_id(tenant: str, key: str) -> str:
    """The job id for an idempotency key."""
    return str(uuid.uuid5(_KEYED_JOBS, f"{tenant}\n{key}"))


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"  # for a human's answer
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


_LONGEST_TITLE = 80  # characters


class JobInput(BaseModel):
    """The crew's name, its inputs, the collection that it searches (None: that of the deployment), and the webhooks
    that are told of it.
    """

    model_config = ConfigDict(frozen=True)

    crew: str
    inputs: Mapping[str, JsonValue]
    collection: str | None = None
    webhooks: tuple[Webhook, ...] | None = None

    @property
    def title(self) -> str:
        """What the job is about, in one short line: its topic, else its first text; "" without any."""
        given = (self.inputs.get("topic"), *self.inputs.values())
        line = next((found for value in given if isinstance(value, str) and (found := in_one_line(value))), "")
        return line if len(line) <= _LONGEST_TITLE else line[: _LONGEST_TITLE - 1].rstrip() + "…"

    def digest(self) -> str:
        """SHA-256 of the canonical JSON: equal inputs, and only they, have the same digest. The address at which the
        API was reached is no part of them.
        """
        plain = self.model_dump(exclude_none=True, exclude={"webhooks": {"__all__": {"base_url"}}})
        canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def reached_at(self, base_url: str) -> "JobInput":
        """With the API's address for the links that its webhooks get."""
        if not self.webhooks:
            return self
        reached = tuple(one.model_copy(update={"base_url": base_url}) for one in self.webhooks)
        return self.model_copy(update={"webhooks": reached})


_LONGEST_MESSAGE = 560  # bytes: the row stays small


def _short(message: str) -> str:
    return message.encode()[:_LONGEST_MESSAGE].decode(errors="ignore")


class Failure(BaseModel):
    """Why a job failed, in words that a person can act on."""

    model_config = ConfigDict(frozen=True)

    type: str
    message: Annotated[Text, AfterValidator(_short)]
    retryable: bool = False  # whether the same request may succeed later
    # Not stored: they only decide what happens next.
    outage: bool = Field(default=False, exclude=True)  # a dependency failed: not the job's fault
    retry_after: timedelta | None = Field(default=None, exclude=True)  # as the service asked

    @classmethod
    def of(cls, error: CrewrelayError) -> "Failure":
        message = f"{ended(str(error))} {error.remedy}"
        return cls(type=error.code, message=message, retryable=error.retryable, outage=error.outage)


class Progress(BaseModel):
    """Tasks that have begun and ended in the run that came furthest, and the last one that began, by name and agent.
    `total` is their number as far as it is known.
    """

    model_config = ConfigDict(frozen=True)

    begun: int = 0
    ended: int = 0
    total: int = 0
    task: str = ""
    agent: str = ""


class Job(BaseModel):
    """The job row, which every decision rests on. All times are UTC."""

    model_config = ConfigDict(frozen=True)

    id: str
    tenant: str
    batch: str | None = None  # that it was submitted with
    batch_item: int = 0  # its item's number in there
    correlation_id: str | None = None  # of the submitting request; older rows have none
    crew: str
    input_digest: str
    status: Status = Status.PENDING
    revision: int = 0  # of the row, checked by every conditional write; 0 in rows of earlier versions
    fence: int = 0
    holder: str | None = None  # the claim's random id: tells a repeated write from a competitor's
    fingerprint: str | None = None  # of the last crew that ran
    attempts: int = 0  # a relay that made progress continues the same attempt
    stalled: int = 0  # attempts since the journal last grew, except those that an outage ended
    outages: int = 0  # attempts since the journal last grew that an outage ended
    relays: int = 0
    strikes: int = 0  # runs since the journal last grew whose crew did not stop when told to
    alone: bool = False  # claimed after a lost attempt: runs while no other job does in its process
    rung_in_vain: int = 0  # rings by the sweeper since the last claim
    restarts: int = 0  # from the beginning, because the crew changed
    blamed: str | None = None  # key of the model reply on which the crew failed
    discarded: tuple[str, ...] = ()  # blamed replies of earlier retries: not replayed, the model is asked again
    question: str | None = None  # id of the last one that was not answered when it was asked
    asked_at: datetime | None = None  # while the job waits
    receipt: Receipt = Receipt()
    progress: Progress = Progress()
    log: tuple[Entry, ...] = ()  # the last entries of the event log
    log_from: int = 1  # number of the first one of them
    calls_logged: int = 0  # journal entries that the event log has
    notify: tuple[EventType, ...] = ()  # of which its webhooks are told
    created_at: datetime
    not_before: datetime | None = None  # set by a backoff only, because clocks differ
    due_at: datetime | None  # when the sweeper must look again, or the question expires; None once the job has ended
    end_by: datetime  # the job fails after this, whatever its running time
    ran: timedelta = timedelta()  # total of the attempts that have ended
    lease_until: datetime | None = None
    claimed_at: datetime | None = None  # start of the current attempt
    started_at: datetime | None = None  # start of the first attempt
    finished_at: datetime | None = None
    expires_at: datetime
    capped: bool = True  # counts towards its tenant's limit of unfinished jobs
    error: Failure | None = None  # why the last attempt failed; cleared by progress
