"""A provider that refuses for a while, for lack of quota or altogether, fails no job.

The clock jumps from bell to bell, so that hours take seconds.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from random import Random

import pytest

from crewrelay.crews.models.failures import explain
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.execution import Execution
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import Figure, HandSetClock

pytestmark = pytest.mark.slow

CALLS = 3  # of a job
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})


class Response:
    def __init__(self, status: int, retry_after: float | None) -> None:
        self.status_code = status
        self.headers = {} if retry_after is None else {"retry-after": str(retry_after)}


class Refusal(Exception):
    """As an SDK raises it."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(f"refused with {status}")
        self.response = Response(status, retry_after)


Model = Callable[[datetime], None]  # raises Refusal


class PerMinute:
    """Lets so many calls through each minute; `says` when the next one begins, or keeps it to itself."""

    def __init__(self, calls: int, says: bool) -> None:
        self._calls = calls
        self._says = says
        self._let_through: Counter[datetime] = Counter()

    def __call__(self, now: datetime) -> None:
        minute = now.replace(second=0, microsecond=0)
        if self._let_through[minute] == self._calls:
            left = (minute + timedelta(minutes=1) - now).total_seconds()
            raise Refusal(429, left if self._says else None)
        self._let_through[minute] += 1


class Away:
    def __init__(self, until: datetime) -> None:
        self._until = until

    def __call__(self, now: datetime) -> None:
        if now < self._until:
            raise Refusal(503)


class Crew:
    def __init__(self, model: Model, clock: HandSetClock) -> None:
        self._model = model
        self._clock = clock
        self.asked = 0

    def fingerprint(self, job_input: JobInput) -> str:
        return "crew-1"

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        for number in range(CALLS):
            calls.call(Kind.MODEL, {"asked": number}, self._ask)
        return Answer(text="done", usage=Usage(model="scripted/one"))

    def _ask(self) -> Reply:
        self._model(self._clock())
        self.asked += 1
        return Reply(body="reply")

    def explain(self, error: BaseException) -> Failure:
        return explain(error)


class Service:
    """Whoever answers the bell, by a clock that jumps from one to the next."""

    def __init__(self, clock: HandSetClock, model: Model, policy: Policy) -> None:
        self.clock = clock
        self.crew = Crew(model, clock)
        self.store = MemoryJobStore(clock)
        self.bells: list[tuple[datetime, int, str]] = []
        self._numbers = count()
        holders = (f"holder-{number}" for number in count())
        self._execution = Execution(self.store, self, self.crew, clock, lambda: next(holders), Random(7).random, policy)

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None:
        heapq.heappush(self.bells, (self.clock() + delay, next(self._numbers), job_id))

    def waiting(self) -> int:
        return len(self.bells)

    def drain(self, jobs: int, policy: Policy) -> tuple[timedelta, list[Job]]:
        """Submit so many, answer every bell; how long it took, and what became of them."""
        begun = self.clock()
        for number in range(jobs):
            job = transitions.submit(f"job-{number}", "acme", INPUT, begun, policy)
            self.ring(self.store.create(job, INPUT).id)
        while self.bells:
            moment, _, job_id = heapq.heappop(self.bells)
            self.clock.now = max(self.clock.now, moment)
            self._execution.run(job_id, self.clock() + timedelta(minutes=15), first_call_is_free=True)
        records = [self.store.load(f"job-{number}") for number in range(jobs)]
        return self.clock() - begun, [record.job for record in records if record]


@pytest.mark.parametrize("says", [True, False], ids=["with Retry-After", "without"])
def test_a_batch_on_a_rate_limited_model_completes_and_uses_the_quota(
    clock: HandSetClock, figure: Figure, says: bool
) -> None:
    policy = Policy()
    service = Service(clock, PerMinute(60, says), policy)
    took, jobs = service.drain(300, policy)
    assert Counter(job.status for job in jobs) == {Status.COMPLETED: 300}
    assert [job.error for job in jobs if job.error] == []
    assert service.crew.asked == 300 * CALLS
    needed = timedelta(minutes=300 * CALLS / 60)
    figure(
        f"300 jobs of {CALLS} calls at 60 a minute{', Retry-After told' * says}: 300 completed in {took / needed:.2f} "
        f"× what the limit needs, {sum(job.attempts for job in jobs) / 300:.1f} attempts a job"
    )
    assert took <= 1.5 * needed


@pytest.mark.parametrize("minutes", [10, 60])
def test_a_provider_that_is_away_fails_no_job(clock: HandSetClock, figure: Figure, minutes: int) -> None:
    policy = Policy()
    service = Service(clock, Away(clock() + timedelta(minutes=minutes)), policy)
    took, jobs = service.drain(40, policy)
    assert Counter(job.status for job in jobs) == {Status.COMPLETED: 40}
    assert service.crew.asked == 40 * CALLS
    figure(
        f"provider away for {minutes} minutes: 40 of 40 completed, the last {took - timedelta(minutes=minutes)} after "
        f"it was back, at most {max(job.attempts for job in jobs)} attempts"
    )
    assert took <= timedelta(minutes=minutes) + policy.longest_backoff + timedelta(minutes=1)


def test_a_provider_that_stays_away_fails_the_job_at_its_age(clock: HandSetClock) -> None:
    policy = Policy(max_age=timedelta(hours=2))
    service = Service(clock, Away(datetime.max.replace(tzinfo=clock().tzinfo)), policy)
    took, (job,) = service.drain(1, policy)
    assert (job.status, job.error and job.error.type) == (Status.FAILED, "Refusal")
    assert timedelta(hours=2) - policy.longest_backoff <= took <= timedelta(hours=2)
    assert job.attempts > policy.max_attempts
