"""The events of a response's stream. They follow from the job and its event log alone, so their numbers are the same
for every reader, in whatever process.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from crewrelay.http.protocols.openai.resource import begun, message, message_of, response_of
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.events import Event, EventType


def events_of(record: JobRecord, log: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """All events so far, numbered from 0."""
    for number, event in enumerate(_events(record, list(log))):
        yield {**event, "sequence_number": number}


def sent(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"


def _events(record: JobRecord, log: list[Event]) -> Iterator[dict[str, Any]]:
    queued, running, now = begun(record), begun(record, "in_progress"), response_of(record)
    has_begun = False
    for event in log:
        match event.what:
            case EventType.SUBMITTED:
                yield {"type": "response.created", "response": queued}
                yield {"type": "response.queued", "response": queued}
            case EventType.CLAIMED if not has_begun:
                has_begun = True
                yield {"type": "response.in_progress", "response": running}
            case EventType.WAITING:
                yield {"type": "response.in_progress", "response": now if event is log[-1] else running}
            case EventType.FAILED | EventType.CANCELLED if event is log[-1]:
                yield {"type": "response.failed", "response": now}
            case EventType.FAILED:  # it was retried, and the number stays taken
                has_begun = False
                yield {"type": "response.queued", "response": queued}
            case EventType.COMPLETED:
                yield from _answer(record)
                yield {"type": "response.completed", "response": now}


def _answer(record: JobRecord) -> Iterator[dict[str, Any]]:
    whole = message_of(record)
    (part,) = whole["content"]
    place = {"item_id": whole["id"], "output_index": 0, "content_index": 0}
    empty = {**part, "text": "", "annotations": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": message(record.job, "in_progress")}
    yield {"type": "response.content_part.added", **place, "part": empty}
    yield {"type": "response.output_text.delta", **place, "delta": part["text"], "logprobs": []}
    for number, annotation in enumerate(part["annotations"]):
        added = {"annotation_index": number, "annotation": annotation}
        yield {"type": "response.output_text.annotation.added", **place, **added}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}
    yield {"type": "response.output_item.done", "output_index": 0, "item": whole}
