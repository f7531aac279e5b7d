"""A subscription: a webhook's cursor over the event log of its job. Pure functions say what happens to it.
One of a batch is to be told of the batch's end, which is the only event that a batch has.

Events are delivered in order: the next one waits until the one before is settled. What is owed has a due time, at which
the sweeper rings; nobody writes a row for an event.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from crewrelay.jobs.records.events import Event
from crewrelay.jobs.records.job import Job
from crewrelay.jobs.records.webhook import Webhook

# Pauses between attempts: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
SCHEDULE = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
# A workflow may not listen yet when its job has ended: n8n answers 409, 404 or 500 until it has parked itself, and a
# proxy 502 to 504 while its server starts.
_NOT_YET = (404, 409, *range(500, 600))
_SOON = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 15, 30))
_GONE = 410
_LONGEST_RETRY_AFTER = timedelta(hours=24)

LEASE = timedelta(seconds=20)  # longer than a delivery, which takes 15 at most, and its write
FIRST_LOOK_AT_BATCH = timedelta(seconds=5)
_LONGEST_LOOK_AT_BATCH = timedelta(hours=1)
_FIRST_LOOK = timedelta(minutes=2)  # while the job is unfinished: the bell of an event may have been lost
_LONGEST_PAUSE = timedelta(minutes=16)
_MOST_ATTEMPTS_KEPT = 20


class State(StrEnum):
    ACTIVE = "active"
    GAVE_UP = "gave_up"  # after the last attempt
    GONE = "gone"  # the receiver answered 410
    REMOVED = "removed"  # by the caller; the row stays, so that its submission, repeated, does not bring it back


class Outcome(NamedTuple):
    """What came of an attempt: the receiver's status, or why there is none."""

    status: int | None = None
    error: str = ""
    retry_after: timedelta | None = None
    body: bytes = b""  # its beginning; not stored

    @property
    def success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Attempt(BaseModel):
    model_config = ConfigDict(frozen=True)

    event: int  # its number
    at: datetime
    status: int | None
    error: str
    milliseconds: int


class Subscription(BaseModel):
    """All times are UTC. `number` tells a job's subscriptions apart, from 0. One of a batch names it in `batch`, and
    has the batch's `subject_id` as `job_id`.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    tenant: str
    number: int
    webhook: Webhook
    created_at: datetime
    expires_at: datetime
    revision: int = 1
    state: State = State.ACTIVE
    after: int = 0  # number of the last event that is settled
    failures: int = 0  # of the next event, by the schedule
    early: int = 0  # of the next event, because its receiver was not there yet
    not_before: datetime | None = None  # while it backs off
    holder: str | None = None
    lease_until: datetime | None = None
    looks: int = 0  # in a row at which nothing was owed
    due_at: datetime | None  # when the sweeper must ring again; None if nothing is owed
    attempts: tuple[Attempt, ...] = ()  # the last ones
    batch: str | None = None
    ended_at: datetime | None = None  # when it was first seen that the batch had ended

    def message_id(self, event: Event) -> str:
        """The same for every attempt, and another one for a job that was deleted and submitted again under its key.
        Standard Webhooks allows no dots.
        """
        at = event.at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return f"msg_{self.job_id}_{self.number}_{event.number}_{at // timedelta(milliseconds=1):x}"

    def next_of(self, events: Sequence[Event]) -> Event | None:
        """The first one that is owed."""
        return next((one for one in events if one.number > self.after and self.webhook.wants(one)), None)


def subscribe(job: Job, webhook: Webhook, number: int, now: datetime, after: int = 0) -> Subscription:
    return Subscription(
        job_id=job.id,
        tenant=job.tenant,
        number=number,
        webhook=webhook,
        created_at=now,
        expires_at=job.expires_at,
        after=after,
        due_at=now + _FIRST_LOOK,
    )


def claimable(subscription: Subscription, now: datetime) -> bool:
    """Active, neither backing off nor held by another."""
    waits = (subscription.not_before, subscription.lease_until)
    return subscription.state is State.ACTIVE and all(until is None or until <= now for until in waits)


def claim(subscription: Subscription, holder: str, now: datetime, event: Event | None = None) -> Subscription:
    """To deliver this event. Of a batch its time is kept, for it is part of the message's id."""
    ended_at = event.at if event and subscription.batch else subscription.ended_at
    return _next(subscription, holder=holder, lease_until=now + LEASE, due_at=now + LEASE, ended_at=ended_at)


def postpone(subscription: Subscription, now: datetime) -> Subscription:
    """Nothing is owed yet: look again later, and later each time. At a batch after an eighth of its age: the end of a
    short one is seen soon, and a day takes 80 looks.
    """
    if subscription.batch:
        pause = max(FIRST_LOOK_AT_BATCH, min((now - subscription.created_at) / 8, _LONGEST_LOOK_AT_BATCH))
        return _released(subscription, due_at=now + pause)
    pause = min(_FIRST_LOOK * 2**subscription.looks, _LONGEST_PAUSE)
    return _released(subscription, looks=min(subscription.looks + 1, 10), due_at=now + pause)


def put_off(subscription: Subscription, until: datetime) -> Subscription:
    """Something is owed, but not its turn: a bell rings then, and the sweeper if that is lost."""
    return _released(subscription, due_at=until + _FIRST_LOOK)


def rest(subscription: Subscription) -> Subscription:
    """Nothing is owed, and nothing more comes unless the job is retried."""
    return _released(subscription, due_at=None)


def rearm(subscription: Subscription, now: datetime, after: int | None = None) -> Subscription:
    """Go on from the event after `after`, or where it stopped, with all attempts anew. A delivery under way goes on."""
    return _next(
        subscription,
        state=State.ACTIVE,
        after=subscription.after if after is None else after,
        failures=0,
        early=0,
        not_before=None,
        looks=0,
        due_at=now + _FIRST_LOOK,
    )


def replace(subscription: Subscription, webhook: Webhook, now: datetime, after: int) -> Subscription:
    """Go on from the event after `after` with another webhook. What comes of a delivery under way is not kept."""
    return rearm(_released(subscription, webhook=webhook), now, after)


def remove(subscription: Subscription) -> Subscription:
    """Deliver nothing more. A delivery under way can't be called back."""
    return _released(subscription, state=State.REMOVED, not_before=None, due_at=None)


def delivered(subscription: Subscription, attempt: Attempt, owes_more: bool, now: datetime) -> Subscription:
    """`owes_more`: whether another event is there, or can still come."""
    return _released(
        subscription,
        after=max(subscription.after, attempt.event),
        failures=0,
        early=0,
        not_before=None,
        looks=0,
        attempts=_with(subscription, attempt),
        due_at=now + _FIRST_LOOK if owes_more else None,
    )


def failed(
    subscription: Subscription, attempt: Attempt, retry_after: timedelta | None, now: datetime, jitter: float
) -> Subscription:
    """Back off, or stop: at once if the receiver is gone for good, else after the last attempt."""
    tried = _released(subscription, attempts=_with(subscription, attempt))
    if attempt.status == _GONE:
        return _update(tried, state=State.GONE, not_before=None, due_at=None)
    if attempt.status in _NOT_YET and tried.early < len(_SOON):
        return _backing_off(_update(tried, early=tried.early + 1), _SOON[tried.early], retry_after, now, jitter)
    if tried.failures == len(SCHEDULE):
        return _update(tried, state=State.GAVE_UP, not_before=None, due_at=None)
    return _backing_off(_update(tried, failures=tried.failures + 1), SCHEDULE[tried.failures], retry_after, now, jitter)


def _backing_off(
    subscription: Subscription, pause: timedelta, retry_after: timedelta | None, now: datetime, jitter: float
) -> Subscription:
    asked_for = min(retry_after or timedelta(), _LONGEST_RETRY_AFTER)
    until = now + max(pause, asked_for) * (1 + jitter / 10)
    return _update(subscription, not_before=until, due_at=until)


def _with(subscription: Subscription, attempt: Attempt) -> tuple[Attempt, ...]:
    return (*subscription.attempts, attempt)[-_MOST_ATTEMPTS_KEPT:]


def _released(subscription: Subscription, **changes: Any) -> Subscription:
    return _next(subscription, holder=None, lease_until=None, **changes)


def _next(subscription: Subscription, **changes: Any) -> Subscription:
    return _update(subscription, revision=subscription.revision + 1, **changes)


def _update(subscription: Subscription, **changes: Any) -> Subscription:
    return subscription.model_copy(update=changes)
