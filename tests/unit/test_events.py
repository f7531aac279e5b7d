"""A job's event log: each event once and in order, whatever died in between; any reader finds the same."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count

import pytest

from crewrelay.jobs.errors import StaleWrite, Unavailable
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import Calls, event_log_of
from crewrelay.jobs.records import events, transitions
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.event_log import with_call
from crewrelay.jobs.records.events import Event, EventRow, EventType
from crewrelay.jobs.records.job import Job, Progress, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.questions import Feedback, Question
from crewrelay.jobs.running.lease import Lease
from crewrelay.jobs.submission import Submission
from crewrelay.jobs.sweeper import Sweeper
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.executions import ANSWER, INPUT, POLICY, Desk, ScriptedCrew, Table
from tests.support.fixtures import HandSetClock

MODEL = {"model": "scripted/one", "prompt_tokens": 9, "completion_tokens": 1}


def works(
    tasks: int, *, ask: bool = False, error: Callable[[int], None] = lambda task: None
) -> Callable[[Calls], Answer]:
    """A crew of so many tasks, each with one call; the first one is reviewed by a human."""

    def script(calls: Calls) -> Answer:
        for task in range(1, tasks + 1):
            calls.begin_task(f"task {task}", "Writer", task, tasks)
            calls.call(Kind.MODEL, {"task": task}, lambda: Reply(body="a reply", **MODEL))  # type: ignore[arg-type]
            if ask and task == 1:
                calls.ask(Question(message="Good?"))
            error(task)
            calls.end_task()
        return ANSWER

    return script


def desk_of(clock: HandSetClock, script: Callable[[Calls], Answer]) -> Desk:
    desk = Desk(clock, ScriptedCrew(script))
    Submission(desk.table, desk.doorbell, clock, lambda: "an-id", POLICY).submit("acme", INPUT)
    return desk


def log_of(desk: Desk, after: int = 0) -> list[Event]:
    return event_log_of(desk.table, desk.job, after)


def told(desk: Desk) -> list[str]:
    found = log_of(desk)
    assert [event.number for event in found] == list(range(1, len(found) + 1))
    return [event.what.value for event in found]


TASK = ["task_started", "call", "task_completed"]


def test_a_run_is_told_from_its_submission_to_its_end(clock: HandSetClock) -> None:
    desk = desk_of(clock, works(2))
    desk.run()
    assert told(desk) == ["submitted", "claimed", *TASK, *TASK, "completed"]
    started, call = log_of(desk)[2:4]
    assert started.details == {"task": 1, "of": 2, "name": "task 1", "agent": "Writer"}
    assert {**call.details, "key": ""} == {
        **MODEL, "kind": "model", "seconds": 0.0, "fence": 1, "cost_usd": None, "key": ""
    }  # fmt: skip
    assert started.at == clock.now
    assert desk.job.progress == Progress(begun=2, ended=2, total=2, task="task 2", agent="Writer")


def test_a_long_log_is_moved_out_of_the_row_and_read_from_any_number(clock: HandSetClock) -> None:
    desk = desk_of(clock, works(30))
    desk.run()
    whole = log_of(desk)
    assert told(desk) == ["submitted", "claimed", *TASK * 30, "completed"]
    assert len(desk.job.log) < 12
    assert desk.job.log_from > 80
    for after in (0, 1, 7, 50, len(whole) - 1, len(whole), 1000):
        assert log_of(desk, after) == whole[after:]


def test_a_run_that_goes_on_tells_nothing_again(clock: HandSetClock) -> None:
    failed: list[int] = []

    def error(task: int) -> None:
        if task == 2 and not failed:
            failed.append(task)
            raise TimeoutError

    desk = desk_of(clock, works(3, ask=True, error=error))
    desk.run(first_call_is_free=True)
    question = desk.job.question or ""
    Intervention(desk.table, desk.doorbell, clock, POLICY).answer("acme", "an-id", question, Feedback(text="yes"))
    desk.run(first_call_is_free=True)
    clock.pass_(seconds=60)
    desk.run(first_call_is_free=True)
    assert told(desk) == [
        *("submitted", "claimed", "task_started", "call", "waiting", "call", "resumed", "claimed", "task_completed"),
        *("task_started", "call", "backed_off", "claimed", "task_completed", *TASK, "completed"),
    ]


def test_a_call_that_was_journaled_by_a_run_that_died_is_told_by_the_next(clock: HandSetClock) -> None:
    """Between the two writes that follow a call."""
    desk = desk_of(clock, works(2))

    def die() -> None:
        raise StaleWrite("as if the process had died")

    def dying(before: Job, after: Job) -> None:
        if any(entry[0] == "call" for entry in after.log[len(before.log) :]):
            die()
        MemoryJobStore.save(desk.table, before, after)

    desk.table.save = dying  # type: ignore[method-assign]
    desk.run(first_call_is_free=True)
    assert told(desk) == ["submitted", "claimed", "task_started"]
    del desk.table.save
    clock.pass_(seconds=61)
    desk.run(first_call_is_free=True)
    assert told(desk) == [
        "submitted",
        "claimed",
        "task_started",
        "claimed",
        "call",
        "task_completed",
        *TASK,
        "completed",
    ]
    assert len({event.details["key"] for event in log_of(desk) if event.what is EventType.CALL}) == 2


def test_a_changed_crew_tells_of_its_tasks_from_the_beginning(clock: HandSetClock) -> None:
    def error(task: int) -> None:
        if desk.crew.version == "crew-1":
            raise TimeoutError

    desk = desk_of(clock, works(1, error=error))
    desk.run()
    desk.crew.version = "crew-2"
    clock.pass_(seconds=60)
    desk.run()
    assert told(desk) == ["submitted", "claimed", *TASK[:2], "backed_off", "claimed", *TASK, "completed"]


def test_what_others_write_is_told_as_well(clock: HandSetClock) -> None:
    table, doorbell = MemoryJobStore(clock), MemoryDoorbell()
    Submission(table, doorbell, clock, lambda: "an-id", POLICY).submit("acme", INPUT)
    clock.now += POLICY.max_age + timedelta(hours=1)
    Sweeper(table, doorbell, clock, POLICY).sweep(clock() + timedelta(minutes=1))
    human = Intervention(table, doorbell, clock, POLICY)
    human.retry("acme", "an-id")
    record = human.cancel("acme", "an-id")
    found = event_log_of(table, record.job)
    assert [(event.what.value, event.details) for event in found] == [
        ("submitted", {}),
        ("failed", {"error": "overdue"}),
        ("retried", {}),
        ("cancelled", {}),
    ]


def test_a_renewal_and_a_bell_tell_nothing(clock: HandSetClock) -> None:
    desk = desk_of(clock, works(1))
    desk.run(meanwhile=[desk.passes(20), desk.passes(20)])
    assert told(desk) == ["submitted", "claimed", *TASK, "completed"]
    assert desk.table.renewals


class Moving(Table):
    """Keeps what was moved, or does not answer."""

    refuses = False

    def put_events(self, job: Job, row: EventRow) -> None:
        if self.refuses:
            raise Unavailable("The table did not answer.")
        super().put_events(job, row)


def running(clock: HandSetClock) -> tuple[Moving, Job]:
    table = Moving(clock)
    job = table.create(transitions.submit("an-id", "acme", INPUT, clock(), POLICY), INPUT)
    claimed = transitions.claim(job, "me", "crew-1", clock(), POLICY)
    table.save(job, claimed)
    return table, claimed


def call(nth: int) -> Call:
    return Call(digest="d" * 64, nth=nth, kind=Kind.MODEL, seconds=1, reply=Reply(body="", model="scripted/one"))


def paid(clock: HandSetClock, lease: Lease, nth: int) -> Job:
    return lease.advance(lambda job: with_call(transitions.renew(job, clock(), POLICY), call(nth), clock()))


def keys(table: MemoryJobStore, job: Job) -> list[object]:
    return [event.details.get("key") for event in event_log_of(table, job)]


def test_a_log_that_can_not_be_moved_stays_in_the_row(clock: HandSetClock) -> None:
    table, job = running(clock)
    lease = Lease(table, job, clock)
    table.refuses = True
    for nth in range(10):
        job = paid(clock, lease, nth)
    assert len(job.log) == 10
    table.refuses = False
    job = paid(clock, lease, 10)
    assert len(job.log) == 1
    assert keys(table, job) == [f"{'d' * 10}#{nth}" for nth in range(11)]


def test_a_holder_that_lost_its_lease_takes_nothing_from_the_log(clock: HandSetClock) -> None:
    """It moves what it knows late, over what its successor has moved."""
    table, job = running(clock)
    zombie, nth = Lease(table, job, clock), count()
    while not events.are_many(job.log):
        job = paid(clock, zombie, next(nth))
    clock.pass_(seconds=61)
    successor = transitions.claim(job, "another", "crew-1", clock(), POLICY)
    table.save(job, successor)
    lease = Lease(table, successor, clock)
    table.refuses = True
    for _ in range(3):
        paid(clock, lease, next(nth))
    table.refuses = False
    last = paid(clock, lease, next(nth))
    with pytest.raises(StaleWrite):
        paid(clock, zombie, 1000)
    assert keys(table, last) == [f"{'d' * 10}#{number}" for number in range(next(nth))]


def test_names_are_short(clock: HandSetClock) -> None:
    desk = desk_of(clock, lambda calls: calls.begin_task("x" * 100, "y" * 100, 1, 1) or ANSWER)  # type: ignore[func-returns-value]
    desk.run()
    assert (desk.job.status, desk.job.progress.task) == (Status.COMPLETED, "x" * 59 + "…")


def test_many_calls_that_no_run_told_are_told_by_the_next(clock: HandSetClock) -> None:
    desk = desk_of(clock, works(1))
    job = desk.job
    claimed = transitions.claim(job, "one that dies", "crew-1", clock(), POLICY)
    desk.table.save(job, claimed)
    for nth in range(300):
        desk.table.put_call(claimed, call(nth).model_copy(update={"kind": Kind.TOOL}))
    clock.pass_(seconds=61)
    desk.run(first_call_is_free=True)
    assert told(desk) == ["submitted", "claimed", *["call"] * 300, *TASK, "completed"]
