"""What has become of a job, told from its events as they come."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from crewrelay.cli.api.client import LONG_POLL, PAGE_OF_EVENTS, Client, Json
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.job import Status


class Progress(NamedTuple):
    """`news` are the events that are in this and were not in the one before; a cost of None is not known."""

    status: Status = Status.PENDING
    last: int = 0
    begun: datetime | None = None
    latest: datetime | None = None
    task: int = 0
    tasks: int = 0
    name: str = ""
    agent: str = ""
    calls: int = 0
    tokens: int = 0
    cost: float | None = 0.0
    news: tuple[Json, ...] = ()

    def after(self, status: Status, events: Iterable[Json]) -> "Progress":
        now = self._replace(status=status, news=())
        for event in events:
            now = now._with(event)
        return now

    def _with(self, event: Json) -> "Progress":
        at = datetime.fromisoformat(event["at"])
        now = self._replace(last=event["number"], begun=self.begun or at, latest=at, news=(*self.news, event))
        match event["event"]:
            case EventType.TASK_STARTED:
                task, tasks = event["task"], max(event["task"], event["of"])
                return now._replace(task=task, tasks=tasks, name=event["name"], agent=event["agent"])
            case EventType.CALL:
                return now._paid(event)
            case _:
                return now

    def _paid(self, call: Json) -> "Progress":
        tokens = call.get("prompt_tokens", 0) + call.get("completion_tokens", 0)
        cost = 0.0 if call.get("model") is None else call.get("cost_usd")
        total = None if self.cost is None or cost is None else self.cost + cost
        return self._replace(calls=self.calls + 1, tokens=self.tokens + tokens, cost=total)

    @property
    def seconds(self) -> float:
        """From its submission to its latest event."""
        return (self.latest - self.begun).total_seconds() if self.latest and self.begun else 0.0


def follow(client: Client, job_id: str) -> Iterator[Progress]:
    """Whenever there is news, until the job has ended or waits for an answer."""
    progress = Progress()
    while True:
        page = client.events(job_id, progress.last, LONG_POLL)
        status = Status(page["status"])
        progress = progress.after(status, page["events"])
        yield progress
        if (status.finished or status is Status.WAITING) and len(page["events"]) < PAGE_OF_EVENTS:
            return
