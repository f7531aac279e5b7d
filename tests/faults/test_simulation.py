"""Any order of things: faults, deaths, duplicates, late clocks and time that passes, chosen by hypothesis and shrunk to
the shortest story that breaks a promise. `FAULTS=long` tells many more stories.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from crewrelay.jobs import sweeper
from crewrelay.jobs.errors import AlreadyAnswered, CrewrelayError, NotWaiting, StaleWrite
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import event_log_of
from crewrelay.jobs.records.event_log import what_of
from crewrelay.jobs.records.events import EventType, key_of
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind
from crewrelay.jobs.records.policy import Budget, Policy
from crewrelay.jobs.records.questions import Feedback
from crewrelay.jobs.running import lease, run
from crewrelay.jobs.running.execution import Execution
from crewrelay.jobs.submission import Submission
from crewrelay.jobs.sweeper import Sweeper
from tests.faults.simulation.strands import Condition, Fate, Lock, Process
from tests.faults.simulation.world import (
    Bell,
    Message,
    ScriptedCrew,
    Surprise,
    Table,
    World,
    answer_by_journal,
    model_calls,
)
from tests.support.fixtures import Figure

_ENDS = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
LONG_FORM = os.environ.get("FAULTS") == "long"
POLICY = Policy(max_attempts=3, budget=Budget(calls=6))
MOST_PROCESSES = 6  # at a time
NTH = st.integers(0, 1000)  # of whatever there is to choose from
STEPS = st.integers(0, 40)
FATES = st.sampled_from([Fate.DONE] * 8 + [Fate.DELAYED, Fate.DOUBLED] * 2 + list(Fate))
EVERY_STEP = 200
LONGEST_RECOVERY = timedelta(minutes=30)  # once all is well: the longest backoff, and what the sweeper may put off
TOLD: Counter[str] = Counter()  # what the stories were about, to see that they get anywhere
INPUTS = st.builds(
    lambda calls, question: JobInput(crew="research", inputs={"calls": str(calls), "question": question}),
    st.integers(1, 5),
    st.sampled_from(["", "", "with a default", "without"]),
)
SKEWS = st.sampled_from([timedelta(seconds=seconds) for seconds in (0, 0, -5, 5)])


class DurableRuns(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.accepted: set[str] = set()
        self.ids = 0
        self.nobody_answered = False
        self.neighbours: dict[Process, list[Process]] = {}  # which live and die together

    # ---- what callers, the queue and the clock may do; `steps` of it happen at once and undisturbed

    @rule(inputs=INPUTS, key=st.sampled_from([None, "one", "two"]), skew=SKEWS, steps=STEPS)
    def submit(self, inputs: JobInput, key: str | None, skew: timedelta, steps: int) -> None:
        self.start("submit", lambda process: self.submission(process).submit("acme", inputs, key), skew, steps)

    @rule(inputs=INPUTS, seconds=st.sampled_from([3, 27]), skew=SKEWS, steps=STEPS)
    def run_inline(self, inputs: JobInput, seconds: int, skew: timedelta, steps: int) -> None:
        def inline(process: Process) -> Job:
            job = self.submission(process).accept("acme", inputs)
            self.accepted.add(job.id)
            self.execution(process).run(job.id, process.clock() + timedelta(seconds=seconds))
            return job

        self.start("inline", inline, skew, steps)

    @precondition(lambda self: self.world.visible)
    @rule(nth=NTH, twice=st.booleans(), seconds=st.sampled_from([5, 60, 870]), skew=SKEWS, steps=STEPS)
    def deliver(self, nth: int, twice: bool, seconds: int, skew: timedelta, steps: int) -> None:
        """In any order, once or once more; should the worker die, the message is lost."""
        message = one_of(self.world.visible, nth)
        if not twice:
            self.world.queue.remove(message)
        self.answer(message, timedelta(seconds=seconds), skew, steps)

    @precondition(lambda self: len(self.world.visible) > 1)
    @rule(seconds=st.sampled_from([60, 870]), skew=SKEWS, steps=STEPS)
    def deliver_batch(self, seconds: int, skew: timedelta, steps: int) -> None:
        """Several at once to one worker, whose death is that of all."""
        messages = self.world.visible[:3]
        for message in messages:
            self.world.queue.remove(message)
        began = len(self.world.schedule.processes)
        for message in messages:
            self.answer(message, timedelta(seconds=seconds), skew, steps)
        neighbours = self.world.schedule.processes[began:]
        self.neighbours.update(dict.fromkeys(neighbours, neighbours))

    @precondition(lambda self: self.world.late)
    @rule(nth=NTH)
    def late_request_arrives(self, nth: int) -> None:
        TOLD["late requests"] += 1
        self.world.arrives(one_of(self.world.late, nth))

    @rule(skew=SKEWS, steps=STEPS)
    def sweep(self, skew: timedelta, steps: int) -> None:
        def work(process: Process) -> Any:
            table, bell = Table(self.world, process), Bell(self.world, process)
            return Sweeper(table, bell, process.clock, POLICY).sweep(process.clock() + timedelta(minutes=1))

        self.start("sweep", work, skew, steps)

    @precondition(lambda self: self.world.history)
    @rule(nth=NTH, what=st.sampled_from(["cancel", "retry"]), steps=STEPS)
    def intervene(self, nth: int, what: str, steps: int) -> None:
        job_id = one_of(list(self.world.history), nth)

        def work(process: Process) -> None:
            table, bell = Table(self.world, process), Bell(self.world, process)
            told = getattr(Intervention(table, bell, process.clock, POLICY), what)("acme", job_id)
            assert told.job.status is not Status.CANCELLED or self.world.job(job_id).status is Status.CANCELLED

        self.start(what, work, timedelta(), steps)

    @precondition(lambda self: self.waiting)
    @rule(nth=NTH, text=st.sampled_from(["yes", "no"]), steps=STEPS)
    def human_answers(self, nth: int, text: str, steps: int) -> None:
        """Several may, and differ: the first answer counts."""
        job = one_of(self.waiting, nth)

        def work(process: Process) -> None:
            table, bell = Table(self.world, process), Bell(self.world, process)
            intervention = Intervention(table, bell, process.clock, POLICY)
            with suppress(AlreadyAnswered, NotWaiting):
                intervention.answer("acme", job.id, job.question or "", Feedback(text=text))

        self.start("human", work, timedelta(), steps)

    @precondition(lambda self: self.waiting and not self.nobody_answered)
    @rule()
    def nobody_answers(self) -> None:
        """Once: a row must not expire."""
        self.nobody_answered = True
        self.world.schedule.now += POLICY.answer_within

    @precondition(lambda self: self.world.schedule.ready)
    @rule(nth=NTH, fate=FATES, steps=STEPS)
    def go_on(self, nth: int, fate: Fate, steps: int) -> None:
        strand = one_of(self.world.schedule.ready, nth)
        strand.go_on(fate)
        self.go_on_undisturbed(strand.process, steps)

    @precondition(lambda self: self.alive)
    @rule(nth=NTH)
    def kill(self, nth: int) -> None:
        process = one_of(self.alive, nth)
        in_flight = any(strand.at in list(Kind) for strand in process.strands)
        TOLD["killed with a call in flight" if in_flight else "killed"] += 1
        for neighbour in self.neighbours.get(process, [process]):
            neighbour.kill()

    @rule(seconds=st.sampled_from([1, 10, 21, 61, 100, 700]))
    def time_passes(self, seconds: int) -> None:
        self.world.schedule.now += timedelta(seconds=seconds)

    @rule()
    def crew_is_changed(self) -> None:
        self.world.crew_version += 1

    # ---- what holds at any time

    @invariant()
    def no_process_ends_in_a_surprise(self) -> None:
        for process in self.world.schedule.processes:
            error = process.error
            known = isinstance(error, CrewrelayError | Surprise) and not isinstance(error, StaleWrite)
            assert error is None or known, error
            if process.main.over and isinstance(process.result, Job):
                self.accepted.add(process.result.id)

    @invariant()
    def no_promise_is_broken(self) -> None:
        assert self.world.broken == []

    @invariant()
    def every_write_is_lawful(self) -> None:
        for steps in self.world.history.values():
            assert all(step.is_lawful and step.after.stalled <= POLICY.max_attempts for step in steps)

    @invariant()
    def what_was_accepted_is_there(self) -> None:
        for job_id in self.accepted:
            assert self.world.table.load(job_id)

    # ---- and what comes of it once all is well again

    def teardown(self) -> None:
        try:
            for late in list(self.world.late):
                TOLD["late requests"] += 1
                self.world.arrives(late)
            until = self.world.schedule.now + LONGEST_RECOVERY
            while self.world.schedule.ready or not all(job.status.finished for job in self.world.jobs()):
                assert self.world.schedule.now < until, [job for job in self.world.jobs() if not job.status.finished]
                self.all_go_on()
                for message in self.world.visible:
                    self.world.queue.remove(message)
                    self.answer(message, timedelta(seconds=870), timedelta(), EVERY_STEP)
                for _ in self.waiting:
                    self.human_answers(nth=0, text="yes", steps=EVERY_STEP)
                self.sweep(skew=timedelta(), steps=EVERY_STEP)
                self.world.schedule.now += timedelta(seconds=30)
            self.no_process_ends_in_a_surprise()
            self.no_promise_is_broken()
            self.every_write_is_lawful()
            for job in self.world.jobs():
                self.assert_accounted(job)
                TOLD.update({job.status.value: 1, "relayed": job.relays, "restarted": job.restarts})
            steps = [step for steps in self.world.history.values() for step in steps]
            answered = Counter(step.before.status for step in steps if step.after.status is Status.PENDING)
            TOLD.update({"went on after a question": answered[Status.WAITING]})
            TOLD.update({"writes": len(steps), "taken over": sum(step.takes_over for step in steps), "stories": 1})
        finally:
            for process in self.alive:
                process.kill()

    def all_go_on(self) -> None:
        while ready := self.world.schedule.ready:
            ready[0].go_on()

    def assert_accounted(self, job: Job) -> None:
        record = self.world.table.load(job.id)
        assert record
        journal = list(self.world.table.journal(job))
        self.assert_told(job, journal)
        paid = model_calls(journal)[Kind.MODEL]
        assert paid <= POLICY.budget.calls + job.restarts
        if job.status is Status.COMPLETED:
            assert record.answer
            assert record.answer.text == answer_by_journal(job, record.input, journal)
            if job.restarts == 0:
                assert job.receipt.calls_paid == paid
        if job.status is Status.FAILED:
            assert job.error
            assert job.error.type != "Surprise"  # a fault of the table or the queue is not the job's
        assert job.status is not Status.COMPLETED or job.error is None

    def assert_told(self, job: Job, journal: list[Call]) -> None:
        """Each accepted write is one event, and each call that the job knows of."""
        log = event_log_of(self.world.table, job)
        assert [event.number for event in log] == list(range(1, len(log) + 1))
        for number in (1, len(log) // 2, len(log)):
            assert event_log_of(self.world.table, job, number) == log[number:]
        steps = self.world.history[job.id]
        written = Counter(what_of(step.before, step.after) for step in steps)
        found = Counter(event.what for event in log)
        assert found[EventType.SUBMITTED] == 1
        for what in (
            *_ENDS,
            EventType.CLAIMED,
            EventType.WAITING,
            EventType.RESUMED,
            EventType.RELAYED,
            EventType.BACKED_OFF,
            EventType.RETRIED,
        ):
            assert found[what] == written[what], what
        told = [event.details["key"] for event in log if event.what is EventType.CALL]
        assert len(told) == len(set(told)) == job.calls_logged
        assert set(told) <= {key_of(call) for call in journal}
        TOLD["events"] += len(log)

    # ---- who does it

    @property
    def waiting(self) -> list[Job]:
        return [job for job in self.world.jobs() if job.status is Status.WAITING]

    @property
    def alive(self) -> list[Process]:
        strands = [strand for strand in self.world.schedule.strands if strand.at is not None]
        return list(dict.fromkeys(strand.process for strand in strands))

    def start(self, name: str, work: Callable[[Process], Any], skew: timedelta, steps: int) -> None:
        if len(self.alive) < MOST_PROCESSES:
            self.go_on_undisturbed(self.world.schedule.start(name, work, skew), steps)

    def go_on_undisturbed(self, process: Process, steps: int) -> None:
        for _ in range(steps):
            if ready := [strand for strand in self.world.schedule.ready if strand.process is process]:
                ready[-1].go_on()

    def answer(self, message: Message, time: timedelta, skew: timedelta, steps: int) -> None:
        def work(process: Process) -> None:
            deadline = process.clock() + time
            self.execution(process).run(message.job_id, deadline, first_call_is_free=True)

        self.start("worker", work, skew, steps)

    def submission(self, process: Process) -> Submission:
        return Submission(Table(self.world, process), Bell(self.world, process), process.clock, self.new_id, POLICY)

    def execution(self, process: Process) -> Execution:
        table, bell, crew = Table(self.world, process), Bell(self.world, process), ScriptedCrew(self.world, process)
        return Execution(table, bell, crew, process.clock, self.new_id, lambda: 0.5, POLICY, process.wait)

    def new_id(self) -> str:
        self.ids += 1
        return f"id-{self.ids}"


def one_of(choices: list[Any], nth: int) -> Any:
    return choices[nth % len(choices)]


STORIES = settings(
    max_examples=3_000 if LONG_FORM else 60,
    stateful_step_count=60,
    derandomize=not LONG_FORM,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_in_any_story_the_promises_hold(monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    monkeypatch.setattr(lease, "threading", SimpleNamespace(Lock=Lock))
    monkeypatch.setattr(run, "threading", SimpleNamespace(Condition=Condition))
    monkeypatch.setattr(sweeper, "_AT_ONCE", 1)
    TOLD.clear()
    logging.disable(logging.CRITICAL)
    try:
        run_state_machine_as_test(DurableRuns, settings=STORIES)
    finally:
        logging.disable(logging.NOTSET)
    figure("simulation: " + ", ".join(f"{TOLD[what]:,} {what}" for what in sorted(TOLD, key=lambda what: -TOLD[what])))
    reached = {
        "killed with a call in flight",
        "taken over",
        "relayed",
        "completed",
        "failed",
        "cancelled",
        "restarted",
        "late requests",
        "went on after a question",
    }
    assert reached <= TOLD.keys()
