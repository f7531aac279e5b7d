"""The messages that a task's webhooks get, in the forms of 1.0 and 0.3."""

import json
from collections.abc import Iterable
from typing import Any

from crewrelay.http.protocols.a2a import tasks, version_0_3
from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.event_log import last_number
from crewrelay.jobs.records.events import Event
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.webhooks.subjects import Message
from crewrelay.outbound.forms import LARGEST, STATUS_AFTER

Json = dict[str, Any]


def form_1_0(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    """A StreamResponse: the task, or if it is too long its status."""
    whole, thinner = _tasks(record, event, subscription)
    updates = ({"taskId": each["id"], "contextId": each["contextId"], "status": each["status"]} for each in thinner)
    return _first_fitting([*({"task": each} for each in whole), *({"statusUpdate": each} for each in updates)])


def form_0_3(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    """The task, without its artifacts if it is too long."""
    whole, thinner = _tasks(record, event, subscription)
    return _first_fitting([version_0_3.task(each) for each in (*whole, *thinner)])


def _tasks(record: JobRecord, event: Event, subscription: Subscription) -> tuple[list[Json], list[Json]]:
    """The whole task, if it is still as the event left it; and the task with less and less in it, the least last."""
    job, base_url = record.job, subscription.webhook.base_url
    status = STATUS_AFTER.get(event.what, Status.PENDING)
    bare = {"state": tasks.STATES[status], "timestamp": tasks.time(event.at)}
    thin = {"id": job.id, "contextId": tasks.context_of(job), "status": bare}
    if event.number != last_number(job) or job.status is not status:
        return [], [thin]
    whole = tasks.task_of(job, record, lambda number: f"{base_url}/crewai/jobs/{job.id}/files/{number}", [])
    return [whole], [thin | {"status": whole["status"]}, thin]


def _first_fitting(contents: Iterable[Json]) -> Message:
    bodies = [json.dumps(each, separators=(",", ":"), ensure_ascii=False).encode() for each in contents]
    fitting = next((body for body in bodies if len(body) <= LARGEST), bodies[-1])
    return Message(fitting, {"Content-Type": "application/json"})
