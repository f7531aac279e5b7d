"""Jobs with webhooks, and a notifier for them whose clock a test moves."""

import random
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.event_log import logged
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.job import Job, JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.subscription import Outcome
from crewrelay.jobs.records.webhook import DEFAULT_EVENTS, Webhook
from crewrelay.jobs.webhooks.notifier import Notifier, Post, Subscriptions
from crewrelay.system import new_id
from crewrelay.testing import MemoryDoorbell, MemoryJobStore, MemorySigningSecrets, MemorySubscriptions
from crewrelay.wiring.forms import FORMS
from tests.support.doubles.meter import MemoryMeter
from tests.support.fixtures import HandSetClock
from tests.support.stored_jobs import ANSWER, FAILURE

POLICY = Policy()
URL = "https://example.org/hook"
FOREVER = timedelta(days=1)


def asking(*events: EventType, url: str = URL, form: str = "standard") -> JobInput:
    """An input whose webhook wants these events, by default the usual ones."""
    webhook = Webhook(url=url, events=events or DEFAULT_EVENTS, form=form, base_url="https://api.example.org/prod")
    return JobInput(crew="research", inputs={"topic": "it", "language": "en"}, webhooks=(webhook,))


class Sent(NamedTuple):
    at: datetime
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class ScriptedPost:
    """Answers as its script says, then 204; keeps what it was sent."""

    def __init__(self, clock: HandSetClock, *outcomes: int | Outcome | Callable[[], Outcome]) -> None:
        self._clock = clock
        self.outcomes = deque(outcomes)
        self.sent: list[Sent] = []

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        self.sent.append(Sent(self._clock(), url, headers, body))
        outcome = self.outcomes.popleft() if self.outcomes else 204
        if isinstance(outcome, Outcome):
            return outcome
        return Outcome(outcome) if isinstance(outcome, int) else outcome()


class World:
    """A store, its notifier and the bells between them. `subscriptions` are of the store."""

    def __init__(
        self,
        clock: HandSetClock,
        post: Post,
        store: JobStore | None = None,
        subscriptions: Subscriptions | None = None,
    ) -> None:
        self.clock = clock
        inner = store or MemoryJobStore(clock)
        if subscriptions is None:
            assert isinstance(inner, MemoryJobStore)
            subscriptions = MemorySubscriptions(inner)
        self.subscriptions = subscriptions
        self.bell = MemoryDoorbell()
        self.meter = MemoryMeter()
        self.secrets = MemorySigningSecrets()
        self.store = ObservedStore(inner, self.meter, self.bell)
        self.notifier = self.another(post)

    def another(self, post: Post) -> Notifier:
        rest = (self.clock, new_id, random.Random(7).randbytes, lambda: 0.0, self.meter)
        return Notifier(self.store, self.subscriptions, self.secrets, post, FORMS, self.bell, *rest)

    def submitted(self, job_input: JobInput, job_id: str = "", tenant: str = "acme") -> Job:
        from crewrelay.jobs.submission import Submission

        submission = Submission(self.store, MemoryDoorbell(), self.clock, lambda: job_id or new_id(), POLICY)
        return submission.accept(tenant, job_input)

    def saved(self, before: Job, after: Job) -> Job:
        after = logged(before, after, self.clock())
        self.store.save(before, after)
        return after

    def claimed(self, job: Job) -> Job:
        return self.saved(job, transitions.claim(job, "one", "crew-1", self.clock(), POLICY))

    def completed(self, job: Job) -> Job:
        running = self.claimed(job)
        self.store.put_answer(running, ANSWER)
        return self.saved(running, transitions.complete(running, self.clock()))

    def failed(self, job: Job) -> Job:
        return self.saved(running := self.claimed(job), transitions.fail(running, FAILURE, self.clock()))

    def notify(self, job: Job) -> None:
        self.notifier.notify(job.id, self.clock() + FOREVER)

    def pass_until_settled(self, *jobs: Job, most: int = 50) -> None:
        """Move the clock to each time at which something is due, and ring, as the sweeper and late bells do."""
        for _ in range(most):
            due = [one.due_at for job in jobs for one in self.subscriptions.of(job.id) if one.due_at]
            if not due:
                return
            self.clock.now = max(self.clock.now, min(due))
            for job_id in dict.fromkeys(self.subscriptions.due(self.clock())):
                self.notifier.notify(job_id, self.clock() + FOREVER)
        raise AssertionError("something is always due")
