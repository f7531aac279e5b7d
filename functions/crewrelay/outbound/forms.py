"""The formats of webhooks' messages."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from crewrelay.jobs.batches.ends import BatchForm, BatchRecord
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.events import Event, EventType
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.records.webhook import STANDARD
from crewrelay.jobs.webhooks.subjects import Form, Message

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

_Data = Mapping[str, Any]


class _About(NamedTuple):
    """What a message is about: `type` is `job.completed`, for instance, `subject` the id of that job."""

    type: str
    subject: str
    at: datetime
    message_id: str
    tenant: str


_Envelope = Callable[[_About, _Data], Message]


def _standard(about: _About, data: _Data) -> Message:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#payload-structure"""
    body = {"type": about.type, "timestamp": _text(about.at), "data": data}
    return Message(_json(body), {"Content-Type": "application/json"})


def _cloudevents(about: _About, data: _Data) -> Message:
    """A structured event in JSON: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md"""
    body = {
        "specversion": "1.0",
        "id": about.message_id,
        "source": f"/crewrelay/{about.tenant}",
        "type": f"crewrelay.{about.type}",
        "subject": about.subject,
        "time": _text(about.at),
        "datacontenttype": "application/json",
        "data": data,
    }
    return Message(_json(body), {"Content-Type": "application/cloudevents+json"})


def _of_job(envelope: _Envelope) -> Form:
    def form(record: JobRecord, event: Event, subscription: Subscription) -> Message:
        """With the result, unless it makes the body too long."""
        about = _about("job", event, subscription)
        data = _job_data(record, event, subscription)
        if event.what is EventType.COMPLETED and record.answer:
            whole = envelope(about, data | {"result": record.answer.text})
            if len(whole.body) <= LARGEST:
                return whole
        if event.what is EventType.COMPLETED:
            data |= {"result_url": data["status_url"]}
        return envelope(about, data)

    return form


def _of_batch(envelope: _Envelope) -> BatchForm:
    def form(record: BatchRecord, event: Event, subscription: Subscription) -> Message:
        return envelope(_about("batch", event, subscription), _batch_data(record, subscription))

    return form


_ENVELOPES: Mapping[str, _Envelope] = {STANDARD: _standard, "cloudevents": _cloudevents}
FORMS = {name: _of_job(envelope) for name, envelope in _ENVELOPES.items()}
BATCH_FORMS = {name: _of_batch(envelope) for name, envelope in _ENVELOPES.items()}


def _about(kind: str, event: Event, subscription: Subscription) -> _About:
    message_id = subscription.message_id(event)
    return _About(
        f"{kind}.{event.what}", subscription.batch or subscription.job_id, event.at, message_id, subscription.tenant
    )


def _job_data(record: JobRecord, event: Event, subscription: Subscription) -> dict[str, Any]:
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


def _batch_data(record: BatchRecord, subscription: Subscription) -> dict[str, Any]:
    batch, error = record.batch, record.batch.upload and record.batch.upload.error
    url = f"{subscription.webhook.base_url}/crewai/batches/{batch.id}" if subscription.webhook.base_url else None
    return {
        "batch_id": batch.id,
        "state": batch.state,
        "counts": record.counts and record.counts.of(batch),
        "error": error and {"type": error.type, "message": error.message},
        "batch_url": url,
        "results_url": url and f"{url}/results",
    }


def _json(body: _Data) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
