"""A job's event log: what happened, numbered from 1, the same for every reader.

Each transition adds its entry to the row that it saves, so an entry counts if and only if the write does. When the row
has many, the job's holder moves them to rows of their own; a reader who has read the job finds those before its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from crewrelay.jobs.records.journal import Call

Value = str | int | float | None
Entry = tuple[Value, ...]  # what, milliseconds since the job was created, and the details in the order of _DETAILS
MOST_STORED = 64  # entries of a row of their own
_LONGEST_ROW = 220  # characters of entries: the job's row stays under 1 KB, the unit of a write
_LONGEST_NAME = 60  # characters


class EventType(StrEnum):
    SUBMITTED = "submitted"
    CLAIMED = "claimed"
    TASK_STARTED = "task_started"
    TASK_COMPLETED = "task_completed"
    CALL = "call"
    WAITING = "waiting"
    RESUMED = "resumed"
    RELAYED = "relayed"
    BACKED_OFF = "backed_off"
    RETRIED = "retried"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_DETAILS: Mapping[EventType, tuple[str, ...]] = {
    EventType.CLAIMED: ("fence",),
    EventType.TASK_STARTED: ("task", "of", "name", "agent"),
    EventType.TASK_COMPLETED: ("task",),
    EventType.CALL: ("kind", "seconds", "fence", "key", "model", "prompt_tokens", "completion_tokens", "cost_usd"),
    EventType.BACKED_OFF: ("error",),
    EventType.FAILED: ("error",),
}


class Event(NamedTuple):
    """`details` by name: a call's kind, model, tokens, US dollars and seconds; a task's number, name and agent."""

    number: int
    at: datetime
    what: EventType
    details: Mapping[str, Value]


class EventRow(NamedTuple):
    """Entries in a row of their own, of which `first` is the number of the first."""

    first: int
    entries: Sequence[Entry]


def entry(what: EventType, created_at: datetime, now: datetime, *details: Value) -> Entry:
    return (what.value, max(0, (now - created_at) // timedelta(milliseconds=1)), *details)


def of_call(call: Call, created_at: datetime, now: datetime) -> Entry:
    reply = call.reply
    model: tuple[Value, ...] = ()
    if reply.model:
        cost = None if reply.cost_usd is None else float(reply.cost_usd)
        model = (reply.model, reply.prompt_tokens, reply.completion_tokens, cost)
    details = (call.kind.value, round(call.seconds, 3), call.fence, key_of(call), *model)
    return entry(EventType.CALL, created_at, call.at or now, *details)


def key_of(call: Call) -> str:
    """Enough of a call's key to tell it from the others of its job."""
    return f"{call.digest[:10]}#{call.nth}"


def short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def are_many(entries: Sequence[Entry]) -> bool:
    """Whether they should be moved out of the job's row."""
    return sum(len(str(each)) for each in entries) > _LONGEST_ROW


def in_rows(first: int, entries: Sequence[Entry]) -> Iterator[EventRow]:
    for start in range(0, len(entries), MOST_STORED):
        yield EventRow(first + start, entries[start : start + MOST_STORED])


def events_of(created_at: datetime, rows: Iterable[EventRow], after: int = 0) -> list[Event]:
    """The events with numbers over `after`, in order. Rows may overlap."""
    found = {first + place: each for first, entries in rows for place, each in enumerate(entries)}
    return [_event(number, found[number], created_at) for number in sorted(found) if number > after]


def _event(number: int, entry: Entry, created_at: datetime) -> Event:
    what, milliseconds, *details = entry
    names = _DETAILS.get(EventType(str(what)), ())
    at = created_at + timedelta(milliseconds=int(milliseconds or 0))
    return Event(number, at, EventType(str(what)), dict(zip(names, details, strict=False)))
