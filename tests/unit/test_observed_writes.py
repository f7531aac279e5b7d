"""What one write of a job is in the log and in the metrics, and what it is not."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from crewrelay.jobs.errors import DamagedJob
from crewrelay.jobs.observed import ObservedStore, measures_of, transition_event
from crewrelay.jobs.ports import Measure
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Failure, Job, JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.testing import MemoryJobStore
from tests.support.doubles.meter import MemoryMeter
from tests.support.fixtures import HandSetClock

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
SUBMITTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CLAIMED = SUBMITTED + timedelta(seconds=3)
ENDED = CLAIMED + timedelta(seconds=2)
FAILURE = Failure(type="TimeoutError", message="The model took too long.", retryable=True)
OVERDUE = Failure(type="overdue", message="The job did not end in time.")

pending = transitions.submit("an-id", "acme", INPUT, SUBMITTED, POLICY)
running = transitions.claim(pending, "me", "crew-1", CLAIMED, POLICY)
backing_off = transitions.back_off(running, FAILURE, ENDED, ENDED, POLICY)
relayed = transitions.relay(running, ENDED, POLICY)
failed = transitions.fail(running, FAILURE, ENDED)
claimed_again = transitions.claim(backing_off, "me", "crew-1", ENDED, POLICY)

WRITES: dict[str, tuple[Job, Job, str | None, dict[Measure, float]]] = {
    "a claim": (pending, running, "job claimed", {Measure.TIME_IN_QUEUE: 3000}),
    "a renewal": (running, transitions.renew(running, ENDED, POLICY), None, {}),
    "a relay": (running, relayed, "job relayed", {Measure.RELAYS: 1}),
    "a relay of a crew that did not stop": (
        running,
        transitions.relay(transitions.strike(running), ENDED, POLICY),
        "job relayed",
        {Measure.RELAYS: 1, Measure.CREWS_STUCK: 1},
    ),
    "a pause": (running, backing_off, "job given back: to be tried again", {Measure.RETRIES: 1}),
    "a pause of a job that was relayed before": (
        transitions.claim(relayed, "me", "crew-1", ENDED, POLICY),
        transitions.back_off(transitions.claim(relayed, "me", "crew-1", ENDED, POLICY), FAILURE, ENDED, ENDED, POLICY),
        "job given back: to be tried again",
        {Measure.RETRIES: 1},
    ),
    "a claim after a pause": (backing_off, claimed_again, "job claimed", {}),
    "a bell by the sweeper": (pending, transitions.postpone(pending, ENDED, POLICY), None, {}),
    "an end": (
        running,
        transitions.complete(running, ENDED),
        "job completed",
        {Measure.JOBS_COMPLETED: 1, Measure.RUN_TIME: 2000},
    ),
    "a failure": (running, failed, "job failed", {Measure.JOBS_FAILED: 1, Measure.RUN_TIME: 2000}),
    "a job that is given up and never ran": (
        pending,
        transitions.give_up(pending, OVERDUE, ENDED),
        "job failed",
        {Measure.JOBS_FAILED: 1, Measure.JOBS_OVERDUE: 1},
    ),
    "a cancellation": (pending, transitions.cancel(pending, ENDED), "job cancelled", {Measure.JOBS_CANCELLED: 1}),
    "a retry": (failed, transitions.retry(failed, ENDED, POLICY), "job to be tried again, as was asked for", {}),
    "a replay": (
        running,
        running.model_copy(update={"receipt": running.receipt.model_copy(update={"calls_replayed": 2})}),
        None,
        {Measure.REPLAYS: 2},
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_is_told_and_measured_as_what_it_is(write: str) -> None:
    before, after, event, measures = WRITES[write]
    assert (transition_event(before, after), measures_of(before, after)) == (event, measures)


def test_clocks_that_differ_make_no_time_negative() -> None:
    early = transitions.claim(pending, "me", "crew-1", SUBMITTED - timedelta(seconds=1), POLICY)
    assert measures_of(pending, early) == {Measure.TIME_IN_QUEUE: 0}


@pytest.fixture
def meter() -> MemoryMeter:
    return MemoryMeter()


@pytest.fixture
def store(clock: HandSetClock, meter: MemoryMeter) -> ObservedStore:
    inner = MemoryJobStore(clock)
    inner.create(pending, INPUT)
    inner.damaged.add(pending.id)
    return ObservedStore(inner, meter)


def test_a_write_that_means_nothing_is_no_record(store: ObservedStore, meter: MemoryMeter) -> None:
    store.save(pending, transitions.postpone(pending, SUBMITTED, POLICY))
    assert meter.records == []


Logged = Callable[[], list[dict[str, object]]]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    caplog.set_level(logging.INFO, "crewrelay")
    return lambda: [vars(record) for record in caplog.records]


@pytest.mark.parametrize(
    ("write", "told"),
    [
        ("a pause", {"attempts": 1, "relays": 0, "error": "TimeoutError"}),
        ("a failure", {"attempts": 1, "relays": 0, "error": "TimeoutError"}),
        ("a relay", {"attempts": 1, "relays": 1}),
        ("a claim after a pause", {"attempts": 2, "relays": 0}),  # its last error says nothing of this attempt
    ],
)
def test_a_line_has_the_jobs_figures_and_why_it_is_as_it_is(
    clock: HandSetClock, meter: MemoryMeter, logged: Logged, write: str, told: dict[str, object]
) -> None:
    before, after, event, _ = WRITES[write]
    inner = MemoryJobStore(clock)
    inner.create(before, INPUT)
    ObservedStore(inner, meter).save(before, after)
    (line,) = logged()
    assert line["msg"] == event
    assert {name: line[name] for name in ("attempts", "relays", "error") if name in line} == told


def test_a_damaged_job_that_is_ended_is_a_failed_one(store: ObservedStore, meter: MemoryMeter, logged: Logged) -> None:
    damaged = Failure.of(DamagedJob("It can't be read."))
    assert store.end_damaged("an-id", damaged, ENDED, SUBMITTED) is False
    assert (meter.records, logged()) == ([], [])
    assert store.end_damaged("an-id", damaged, ENDED, SUBMITTED + timedelta(days=1)) is True
    assert meter.records == [{Measure.JOBS_FAILED: 1}]
    (line,) = logged()
    assert (line["levelname"], line["job_id"]) == ("ERROR", "an-id")
