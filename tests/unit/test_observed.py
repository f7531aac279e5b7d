"""What is measured of jobs: each outcome once, by whoever's write ended the job, and each paid call once."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import pytest

from crewrelay.jobs.errors import StaleWrite, Unavailable
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.log_keys import correlation_id, log_keys, logged_with
from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.ports import Calls, Measure, RelayDue
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.job import Failure, Job, JobInput
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.execution import Execution
from crewrelay.jobs.submission import Submission
from crewrelay.jobs.sweeper import Sweeper
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.doubles.meter import MemoryMeter
from tests.support.fixtures import HandSetClock
from tests.support.runs import reply

POLICY = Policy(max_attempts=2)
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
ANSWER = Answer(text="an answer", usage=Usage(model="scripted/one"))

Script = Callable[[Calls], Answer]


class Crew:
    def __init__(self) -> None:
        self.script: Script = lambda calls: ANSWER
        self.keys: dict[str, object] = {}  # of the log, as the crew's thread has them

    def fingerprint(self, job_input: JobInput) -> str:
        return "crew-1"

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        self.keys = dict(log_keys())
        return self.script(calls)

    def explain(self, error: BaseException) -> Failure:
        return Failure(type=type(error).__name__, message="It failed.", retryable=isinstance(error, TimeoutError))


class Office:
    """All who may move a job on, over one table and one meter."""

    def __init__(self, clock: HandSetClock) -> None:
        self.clock, self.crew, self.meter = clock, Crew(), MemoryMeter()
        self.table = MemoryJobStore(clock)
        self.store = ObservedStore(self.table, self.meter)
        bell, ids = MemoryDoorbell(), iter("abcdefghij")
        self.submission = Submission(self.store, bell, clock, lambda: next(ids), POLICY)
        self.execution = Execution(self.store, bell, self.crew, clock, lambda: next(ids), lambda: 0.5, POLICY)
        self.sweeper = Sweeper(self.store, bell, clock, POLICY)
        self.intervention = Intervention(self.store, bell, clock, POLICY)

    def submit(self, key: str | None = None) -> Job:
        return self.submission.submit("acme", INPUT, key)

    def run(self, job: Job, script: Script | None = None) -> None:
        self.crew.script = script or self.crew.script
        self.execution.run(job.id, self.clock() + timedelta(minutes=10))

    def sweep(self) -> None:
        self.sweeper.sweep(self.clock() + timedelta(minutes=1))


@pytest.fixture
def office(clock: HandSetClock) -> Office:
    return Office(clock)


def paid(question: str, cost: str | None = "0.25") -> Callable[[], Reply]:
    return lambda: reply(question, 10, cost=cost)


def asks(*questions: str, then: Exception | None = None, kind: Kind = Kind.MODEL) -> Script:
    def script(calls: Calls) -> Answer:
        for question in questions:
            calls.call(kind, {"asked": question}, paid(question))
        if then:
            calls.stop(then)
            raise then
        return ANSWER

    return script


def test_a_completed_job(office: Office, clock: HandSetClock) -> None:
    job = office.submit()
    clock.pass_(seconds=3)

    def slowly(calls: Calls) -> Answer:
        clock.pass_(seconds=2)
        return asks("what?", "why?")(calls)

    office.run(job, slowly)
    office.run(job)  # the bell rings again
    assert office.meter.total == {
        Measure.JOBS_ACCEPTED: 1,
        Measure.TIME_IN_QUEUE: 3000,
        Measure.CALLS: 2,
        Measure.TOKENS: 20,
        Measure.COST_USD: 0.5,
        Measure.JOBS_COMPLETED: 1,
        Measure.RUN_TIME: 2000,
    }


def test_a_relayed_job_waits_in_the_queue_once_and_replays(office: Office, clock: HandSetClock) -> None:
    job = office.submit()
    office.run(job, asks("what?", then=RelayDue("no time")))
    clock.pass_(seconds=5)
    office.run(job, asks("what?", "why?"))
    total = office.meter.total
    assert (total[Measure.RELAYS], total[Measure.REPLAYS], total[Measure.CALLS]) == (1, 1, 2)
    assert (total[Measure.TIME_IN_QUEUE], total[Measure.RUN_TIME]) == (0, 5000)
    assert [Measure.TIME_IN_QUEUE in record for record in office.meter.records].count(True) == 1


def test_a_failed_job_is_counted_when_it_is_given_up(office: Office, clock: HandSetClock) -> None:
    job = office.submit()
    office.run(job, asks(then=TimeoutError()))
    assert office.meter.total[Measure.RETRIES] == 1
    assert Measure.JOBS_FAILED not in office.meter.total
    clock.pass_(minutes=10)
    office.run(job)
    assert (office.meter.total[Measure.RETRIES], office.meter.total[Measure.JOBS_FAILED]) == (1, 1)
    assert Measure.JOBS_OVERDUE not in office.meter.total


def test_a_job_that_the_sweeper_ends_is_counted_once(office: Office, clock: HandSetClock) -> None:
    office.submit()
    clock.pass_(days=2)
    office.sweep()
    office.sweep()
    total = office.meter.total
    assert (total[Measure.JOBS_FAILED], total[Measure.JOBS_OVERDUE]) == (1, 1)
    assert Measure.RUN_TIME not in total


def test_a_cancelled_job_is_counted_once(office: Office) -> None:
    job = office.submit()
    office.intervention.cancel("acme", job.id)
    office.intervention.cancel("acme", job.id)
    office.run(job)
    assert office.meter.total == {Measure.JOBS_ACCEPTED: 1, Measure.JOBS_CANCELLED: 1}


def test_one_key_is_one_job(office: Office) -> None:
    office.submit("a key")
    office.submit("a key")
    assert office.meter.total == {Measure.JOBS_ACCEPTED: 1}


def test_a_write_that_is_refused_is_not_counted(office: Office, clock: HandSetClock) -> None:
    job = office.submit()
    claimed = transitions.claim(job, "me", "crew-1", clock(), POLICY)
    office.table.save(job, claimed)
    office.table.save(claimed, transitions.complete(claimed, clock()))
    with pytest.raises(StaleWrite):
        office.store.save(claimed, transitions.fail(claimed, Failure(type="x", message="late"), clock()))
    assert office.meter.total == {Measure.JOBS_ACCEPTED: 1}


def test_a_call_whose_cost_is_unknown_has_none_and_a_search_is_no_call(office: Office) -> None:
    def script(calls: Calls) -> Answer:
        calls.call(Kind.MODEL, {"asked": "what?"}, paid("what?", None))
        return asks("where?", kind=Kind.RETRIEVAL)(calls)

    office.run(office.submit(), script)
    assert office.meter.total[Measure.CALLS] == 1
    assert Measure.COST_USD not in office.meter.total


def test_a_call_that_is_journaled_at_the_second_try_is_counted_once(office: Office, clock: HandSetClock) -> None:
    put, failures = office.table.put_call, iter([Unavailable("The table did not answer.")])

    def unreliable(job: Job, call: object) -> object:
        for failure in failures:
            raise failure
        return put(job, call)  # type: ignore[arg-type]

    office.table.put_call = unreliable  # type: ignore[method-assign,assignment]
    office.run(office.submit(), asks("what?"))
    assert office.meter.total[Measure.CALLS] == 1


# ---- the correlation id, and the log's keys


def test_a_job_keeps_the_id_of_the_request_that_it_came_with(office: Office) -> None:
    with logged_with(request_id="r-1", correlation_id="c-1"):
        job = office.submit()
    assert correlation_id() is None
    with logged_with(request_id="r-2"):
        office.run(job)
    assert office.crew.keys == {
        "request_id": "r-2",
        "correlation_id": "c-1",
        "job_id": job.id,
        "tenant": "acme",
        "fence": 1,
    }
    assert dict(log_keys()) == {}


def test_each_step_of_a_job_is_a_line_with_its_ids(office: Office) -> None:
    with lines_of("crewrelay.jobs.observed") as lines:
        with logged_with(correlation_id="c-1"):
            job = office.submit()
        office.run(job, asks("what?", then=RelayDue("no time")))
        office.run(job, asks("what?"))
    steps = ["job accepted", "job claimed", "job relayed", "job claimed", "job completed"]
    assert [(line.text, line.keys["job_id"], line.keys["correlation_id"]) for line in lines] == [
        (step, job.id, "c-1") for step in steps
    ]


def test_what_a_sweep_says_of_a_job_is_a_line_with_its_ids(office: Office, clock: HandSetClock) -> None:
    with logged_with(correlation_id="c-1"):
        job = office.submit()
    clock.pass_(hours=24)
    with lines_of("crewrelay.jobs") as lines:
        office.sweep()
    ended, swept = lines
    assert (ended.text, ended.keys) == (
        "job failed",
        {"job_id": job.id, "tenant": "acme", "correlation_id": "c-1", "fence": 1},
    )
    assert (swept.text, swept.extra("rung", "ended", "left", "failed")) == ("swept", [0, 1, 0, 0])


class Line(NamedTuple):
    """A line of the log, and the keys of its context."""

    record: logging.LogRecord
    keys: dict[str, object]

    @property
    def text(self) -> str:
        return self.record.getMessage()

    def extra(self, *names: str) -> list[object]:
        return [getattr(self.record, name) for name in names]


@contextmanager
def lines_of(name: str) -> Iterator[list[Line]]:
    lines: list[Line] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(Line(record, dict(log_keys())))

    logger, handler = logging.getLogger(name), Handler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
