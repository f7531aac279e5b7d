"""The rows of a job's timeline, from its events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from crewrelay.cli.output.text import plural
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.text import in_one_line

_WAITS = {
    EventType.SUBMITTED: "waits for a worker",
    EventType.RELAYED: "relayed, waits for another run",
    EventType.BACKED_OFF: "pauses after a failure",
    EventType.RETRIED: "retried, waits for a worker",
    EventType.WAITING: "waits for an answer",
    EventType.RESUMED: "answered, waits for a worker",
}
_ENDS = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)


class Row(NamedTuple):
    """`kind` is wait, run, task, a kind of call, or end. Seconds are from the job's submission; tokens and cost are of
    a model's call.
    """

    kind: str
    what: str
    start: float
    end: float
    tokens: int | None = None
    cost: float | None = None


def rows(events: Sequence[dict[str, Any]]) -> list[Row]:
    """Waits last until the next claim, runs and tasks until what ends them, or until the latest event."""
    found: list[Row] = []
    paid = 0  # calls in the journal
    at = {event["number"]: _seconds(events[0], event) for event in events}
    latest = max(at.values(), default=0.0)
    for place, event in enumerate(events):
        now, what = at[event["number"]], event["event"]
        later = events[place + 1 :]
        match what:
            case EventType.CALL:
                found.append(_call(event, now))
                paid += 1
            case EventType.CLAIMED:
                replays = f", replays {plural(paid, 'call')} of its journal" if paid else ""
                end = _next(later, at, latest, EventType.CLAIMED, *_WAITS, *_ENDS)
                found.append(Row("run", f"run {event['fence']}{replays}", now, end))
            case EventType.TASK_STARTED:
                of = max(event["task"], event["of"])
                name = in_one_line(f"task {event['task']} of {of}: {event['name']} ({event['agent']})")
                ends = (EventType.TASK_COMPLETED, EventType.TASK_STARTED, EventType.CLAIMED, *_WAITS, *_ENDS)
                found.append(Row("task", name, now, _next(later, at, latest, *ends)))
            case EventType.TASK_COMPLETED:
                pass
            case _ if what in _ENDS:
                why = f": {in_one_line(event['error'])}" if event.get("error") else ""
                found.append(Row("end", f"{what}{why}", now, now))
            case _:
                why = f": {in_one_line(event['error'])}" if event.get("error") else ""
                said = f"{_WAITS.get(what, what)}{why}"
                found.append(Row("wait", said, now, _next(later, at, latest, EventType.CLAIMED, *_WAITS, *_ENDS)))
    return found


def _call(event: dict[str, Any], now: float) -> Row:
    """An event tells of a call when it has ended."""
    model = event.get("model")
    tokens = event["prompt_tokens"] + event["completion_tokens"] if model else None
    start = max(0.0, now - event["seconds"])
    return Row(event["kind"], in_one_line(model or event["kind"]), start, now, tokens, event.get("cost_usd"))


def _next(later: Sequence[dict[str, Any]], at: dict[int, float], latest: float, *wanted: str) -> float:
    return next((at[event["number"]] for event in later if event["event"] in wanted), latest)


def _seconds(first: dict[str, Any], event: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(each["at"]) for each in (first, event))
    return max(0.0, (end - start).total_seconds())
