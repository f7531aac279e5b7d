"""The formats of webhooks' messages."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.events import Event, EventType
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.records.webhook import STANDARD
from crewrelay.jobs.webhooks.notifier import Form, Message

LARGEST = 20_000  # bytes, as Standard Webhooks advises: a longer result is left to be fetched

# A job's status right after the event; later ones may have changed it.
STATUS_AFTER = {
    EventType.CLAIMED: Status.RUNNING,
    EventType.TASK_STARTED: Status.RUNNING,
    EventType.TASK_COMPLETED: Status.RUNNING,
    EventType.CALL: Status.RUNNING,
    EventType.WAITING: Status.WAITING,
    EventType.COMPLETED: Status.COMPLETED,
    EventType.FAILED: Status.FAILED,
    EventType.CANCELLED: Status.CANCELLED,
}


def standard(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#payload-structure"""

    def body(data: Mapping[str, Any]) -> bytes:
        return _json({"type": f"job.{event.what}", "timestamp": _text(event.at), "data": data})

    return Message(_fitting(record, event, subscription, body), {"Content-Type": "application/json"})


def cloudevents(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    """A structured event in JSON: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md"""

    def body(data: Mapping[str, Any]) -> bytes:
        return _json(
            {
                "specversion": "1.0",
                "id": subscription.message_id(event),
                "source": f"/crewrelay/{record.job.tenant}",
                "type": f"crewrelay.job.{event.what}",
                "subject": record.job.id,
                "time": _text(event.at),
                "datacontenttype": "application/json",
                "data": data,
            }
        )

    return Message(_fitting(record, event, subscription, body), {"Content-Type": "application/cloudevents+json"})


FORMS: Mapping[str, Form] = {STANDARD: standard, "cloudevents": cloudevents}


def _fitting(record: JobRecord, event: Event, subscription: Subscription, body: Any) -> bytes:
    """With the result, unless it makes the body too long."""
    data = _data(record, event, subscription)
    if event.what is EventType.COMPLETED and record.answer:
        whole: bytes = body(data | {"result": record.answer.text})
        if len(whole) <= LARGEST:
            return whole
    if event.what is EventType.COMPLETED:
        data |= {"result_url": data["status_url"]}
    thin: bytes = body(data)
    return thin


def _data(record: JobRecord, event: Event, subscription: Subscription) -> dict[str, Any]:
    job, base_url = record.job, subscription.webhook.base_url
    data: dict[str, Any] = {
        "job_id": job.id,
        "status": STATUS_AFTER.get(event.what, Status.PENDING),
        "crew": job.crew,
        "batch": job.batch,
        "event": event.number,
        "status_url": f"{base_url}/crewai/status/{job.id}" if base_url else None,
    }
    if event.what is EventType.FAILED:
        known = job.error.message if job.status is Status.FAILED and job.error else None
        data["error"] = {"type": event.details.get("error"), "message": known}
    if event.what is EventType.WAITING and record.question and job.status is Status.WAITING:
        data["waiting"] = {"id": job.question}
    return data


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
