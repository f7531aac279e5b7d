"""The messages that an execution's webhooks get, in the platform's forms."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from crewrelay.http.protocols.amp.status import as_json, asked, failure, result_of
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.event_log import last_number
from crewrelay.jobs.records.events import Event, EventType
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.journal import Kind
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.webhooks.subjects import Form, Message
from crewrelay.outbound.forms import STATUS_AFTER

FORM_CREW, FORM_HUMAN_INPUT, FORM_STREAM = "amp-crew", "amp-human-input", "amp-stream"

Json = dict[str, Any]


class Streamed(NamedTuple):
    """The events of a job's log that are told under one of the platform's names; of calls, those of these kinds."""

    events: tuple[EventType, ...]
    calls: tuple[Kind, ...] = ()


STREAMED: Mapping[str, Streamed] = {
    "crew_kickoff_started": Streamed((EventType.SUBMITTED,)),
    "crew_kickoff_completed": Streamed((EventType.COMPLETED,)),
    "crew_kickoff_failed": Streamed((EventType.FAILED, EventType.CANCELLED)),
    "task_started": Streamed((EventType.TASK_STARTED,)),
    "task_completed": Streamed((EventType.TASK_COMPLETED,)),
    "llm_call_completed": Streamed((EventType.CALL,), (Kind.MODEL,)),
    "tool_usage_finished": Streamed((EventType.CALL,), (Kind.TOOL, Kind.RETRIEVAL)),
}


def crew(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    """The result. `state` and `error` say how it ended: the platform's own body does not."""
    answer = record.answer if _is_still_so(record, event) else None
    body = {
        "kickoff_id": record.job.id,
        "state": "SUCCESS" if event.what is EventType.COMPLETED else "FAILED",
        "result": _result(record, event, subscription),
        "result_json": as_json(answer.text) if answer else None,
        "token_usage": _usage(answer.usage.prompt_tokens, answer.usage.completion_tokens) if answer else None,
        "error": _error(record, event),
        "meta": subscription.webhook.data,
    }
    return _message(body)


def human_input(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    """The question; nulls if it has been answered meanwhile."""
    unknown = dict.fromkeys(("task_id", "message", "task", "output", "default", "options"))
    question = asked(record) if _is_still_so(record, event) else None
    ids = {"kickoff_id": record.job.id, "execution_id": record.job.id}
    return _message({**ids, **(question or unknown), "meta": subscription.webhook.data})


def stream(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    told = {
        "id": subscription.message_id(event),
        "execution_id": record.job.id,
        "timestamp": event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "type": _type(event),
        "data": _data(record, event, subscription),
    }
    return _message({"events": [told]})


FORMS: Mapping[str, Form] = {FORM_CREW: crew, FORM_HUMAN_INPUT: human_input, FORM_STREAM: stream}


def _message(body: Json) -> Message:
    content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    return Message(content, {"Content-Type": "application/json"})


def _is_still_so(record: JobRecord, event: Event) -> bool:
    """Whether the job is as the event left it: it may have been answered or retried since."""
    return event.number == last_number(record.job) and record.job.status is STATUS_AFTER.get(event.what)


def _result(record: JobRecord, event: Event, subscription: Subscription) -> str | None:
    if event.what is not EventType.COMPLETED or not _is_still_so(record, event):
        return None
    job = record.job
    return result_of(record, f"at {subscription.webhook.base_url}/amp/{job.crew}/status/{job.id}")


def _error(record: JobRecord, event: Event) -> str | None:
    if event.what is EventType.COMPLETED:
        return None
    known = failure(record.job) if _is_still_so(record, event) else None
    return known or str(event.details.get("error", Status.CANCELLED))


def _usage(prompt_tokens: int, completion_tokens: int) -> Json:
    total = prompt_tokens + completion_tokens
    return {"total_tokens": total, "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}


def _type(event: Event) -> str:
    """Raises StopIteration for an event that no webhook of this form asks for."""
    kind = event.details.get("kind")
    told = (name for name, one in STREAMED.items() if event.what in one.events and (not one.calls or kind in one.calls))
    return next(told)


def _data(record: JobRecord, event: Event, subscription: Subscription) -> Json:
    """With the field names of CrewAI's events, as far as the log knows them."""
    details, crew_name = event.details, {"crew_name": record.job.crew}
    match event.what:
        case EventType.TASK_STARTED:
            names = {"task_name": details["name"], "agent_role": details["agent"]}
            return {"task": details["task"], "of": details["of"], **names}
        case EventType.TASK_COMPLETED:
            return {"task": details["task"]}
        case EventType.CALL if details["kind"] == Kind.MODEL:
            tokens = (int(details.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
            return {"model": details.get("model"), "usage": _usage(*tokens), "seconds": details["seconds"]}
        case EventType.CALL:
            return {"kind": details["kind"], "seconds": details["seconds"]}
        case EventType.SUBMITTED:
            return {**crew_name, "inputs": dict(record.input.inputs)}
        case EventType.COMPLETED:
            return {**crew_name, "output": _result(record, event, subscription)}
        case _:
            return {**crew_name, "error": _error(record, event)}
