"""Answering the bell: one runner per job, an end to every wait, and no write by whoever lost the lease."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from crewrelay.crews.failures import ToolUnavailable, explain
from crewrelay.jobs import job as transitions
from crewrelay.jobs.answer import Answer, Usage
from crewrelay.jobs.errors import InvalidRequest, Misconfigured, ServiceRefused, Unavailable
from crewrelay.jobs.execution import Execution, done_within
from crewrelay.jobs.job import Failure, Job, JobInput, Status
from crewrelay.jobs.journal import Call, Kind, Reply
from crewrelay.jobs.policy import Budget, Policy
from crewrelay.jobs.ports import Calls, Clock, JobRecord, Wait
from crewrelay.jobs.process import Process
from crewrelay.jobs.sweeper import Sweeper, Swept
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.conftest import HandSetClock
from tests.support.waiting import wait_until

POLICY = Policy()
HASTY = Policy(lease=timedelta(seconds=0.15))  # renewed every 50 ms
INPUT = JobInput(crew="research", inputs={"topic": "neural networks", "language": "en"})
ANSWER = Answer(text="an answer", usage=Usage(model="scripted/one"))
TIMEOUT = 10  # seconds until a test that hangs gives up

Script = Callable[[JobInput], Answer]


def utcnow() -> datetime:
    return datetime.now(UTC)


def void(_: object) -> None: ...


class Crew:
    """Does what the script says, and counts how often it was asked to."""

    def __init__(self, script: Script = lambda _: ANSWER) -> None:
        self._script = script
        self.inputs: list[JobInput] = []

    def fingerprint(self, job_input: JobInput) -> str:
        return "crew-1"

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        self.inputs.append(job_input)
        return self._script(job_input)

    def explain(self, error: BaseException) -> Failure:
        return explain(error)


class BlockedCrew(Crew):
    """Says that it has started, and ends when it may."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.started = threading.Event()
        self.may_end = threading.Event()

    def _wait(self, _: JobInput) -> Answer:
        self.started.set()
        assert self.may_end.wait(TIMEOUT)
        return ANSWER


class WatchedStore(MemoryJobStore):
    """Calls `on_renewal` with what is about to be stored, at every renewal of a lease."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.on_renewal: Callable[[Job], None] = lambda _: None

    def save(self, before: Job, after: Job) -> None:
        if before.status is after.status is Status.RUNNING and before.fence == after.fence:
            self.on_renewal(after)
        super().save(before, after)


class Desk:
    """An execution with all that it works on; by the real clock unless a test sets one."""

    def __init__(
        self,
        crew: Crew,
        policy: Policy = POLICY,
        clock: Clock = utcnow,
        store: WatchedStore | None = None,
        wait: Wait = done_within,
        process: Process | None = None,
    ) -> None:
        self.crew, self.policy, self.clock = crew, policy, clock
        self.store = store or WatchedStore(clock)
        self.doorbell = MemoryDoorbell()
        self._execution = Execution(
            self.store, self.doorbell, crew, clock, lambda: str(uuid4()), lambda: 0.5, policy, wait, process
        )

    def submit(self) -> str:
        job = transitions.submit(str(uuid4()), "acme", INPUT, self.clock(), self.policy)
        return self.store.create(job, INPUT).id

    def run(self, job_id: str, seconds: float = TIMEOUT, *, first_call_is_free: bool = False, grace: float = 0) -> None:
        deadline = self.clock() + timedelta(seconds=seconds)
        self._execution.run(job_id, deadline, first_call_is_free=first_call_is_free, grace=timedelta(seconds=grace))

    def record(self, job_id: str) -> JobRecord:
        record = self.store.load(job_id)
        assert record is not None
        return record

    def claim_by_a_rival(self, job_id: str) -> Job:
        """As if the lease had run out and somebody else had come."""
        before = self.record(job_id).job
        rival = transitions.claim(before, "a rival", "crew-1", self.clock() + timedelta(minutes=5), self.policy)
        MemoryJobStore.save(self.store, before, rival)
        return rival

    def join_crew(self, job_id: str) -> None:
        for thread in threading.enumerate():
            if thread.name == f"crew-{job_id}":
                thread.join(TIMEOUT)
                assert not thread.is_alive()


def test_a_crew_that_ends_completes_the_job() -> None:
    desk = Desk(Crew())
    job_id = desk.submit()
    desk.run(job_id)
    job, job_input, answer, _ = desk.record(job_id)
    assert (job.status, job.attempts, job.error) == (Status.COMPLETED, 1, None)
    assert answer == ANSWER
    assert desk.crew.inputs == [job_input] == [INPUT]
    assert desk.doorbell.rings == []


def test_a_bell_for_a_finished_job_runs_nothing() -> None:
    desk = Desk(Crew())
    job_id = desk.submit()
    desk.run(job_id)
    before = desk.record(job_id)
    desk.run(job_id)
    assert desk.record(job_id) == before
    assert len(desk.crew.inputs) == 1


def test_a_bell_for_a_job_that_is_gone_runs_nothing(clock: HandSetClock) -> None:
    desk = Desk(Crew(), clock=clock)
    job_id = desk.submit()
    clock.pass_(days=31)
    desk.run(job_id)
    desk.run("never submitted")
    assert desk.crew.inputs == []


def test_a_bell_before_its_time_runs_nothing(clock: HandSetClock) -> None:
    desk = Desk(Crew(), clock=clock)
    job_id = desk.submit()
    pending = desk.record(job_id).job
    backing_off = pending.model_copy(update={"not_before": clock() + timedelta(minutes=2)})
    desk.store.save(pending, backing_off)
    desk.run(job_id)
    assert desk.record(job_id).job == backing_off
    assert desk.crew.inputs == []


def test_the_bell_of_a_submission_by_a_clock_a_little_ahead_is_not_lost(clock: HandSetClock) -> None:
    desk = Desk(Crew(), clock=clock)
    clock.pass_(milliseconds=50)
    job_id = desk.submit()
    clock.pass_(milliseconds=-50)  # the worker's clock
    desk.run(job_id)
    assert desk.record(job_id).job.status is Status.COMPLETED or desk.doorbell.rings == [job_id]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("no such model"), "ValueError", "no such model"),
        (InvalidRequest("the model's name is wrong"), "invalid_request", "the model's name is wrong"),
        (SystemExit("context too long"), "SystemExit", "context too long"),
        (KeyboardInterrupt(), "KeyboardInterrupt", "The crew gave no reason."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_crew_that_raises_fails_the_job_with_its_reason(error: BaseException, kind: str, message: str) -> None:
    def script(_: JobInput) -> Answer:
        raise error

    desk = Desk(Crew(script))
    job_id = desk.submit()
    desk.run(job_id)
    job, _, answer, _ = desk.record(job_id)
    assert (job.status, answer) == (Status.FAILED, None)
    assert job.error is not None
    assert job.error.type == kind
    assert message in job.error.message
    assert job.error.retryable is False


@pytest.mark.parametrize("error", [TimeoutError("the model took too long"), Unavailable("the search is down")])
def test_an_error_that_may_pass_gives_the_job_back_for_later(error: Exception, clock: HandSetClock) -> None:
    def script(_: JobInput) -> Answer:
        raise error

    desk = Desk(Crew(script), clock=clock)
    job_id = desk.submit()
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.attempts, job.holder) == (Status.PENDING, 1, None)
    assert job.error is not None
    assert job.error.retryable
    assert job.not_before == clock() + desk.doorbell.delays[0] - POLICY.skew  # a clock behind ours finds it over too
    assert desk.doorbell.rings == [job_id]
    desk.run(job_id)  # a duplicate of the message does not defeat the backoff
    assert desk.record(job_id).job == job
    clock.now = job.not_before
    desk.run(job_id)
    assert desk.record(job_id).job.attempts == 2


def test_an_error_that_does_not_pass_fails_the_job_after_its_attempts(clock: HandSetClock) -> None:
    def script(_: JobInput) -> Answer:
        raise ToolUnavailable("weather") from TimeoutError("too slow")

    desk = Desk(Crew(script), Policy(max_attempts=3), clock)
    job_id = desk.submit()
    for _ in range(3):
        clock.pass_(minutes=1)
        desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.attempts) == (Status.FAILED, 3)
    assert job.error is not None
    assert (job.error.type, job.error.retryable) == ("TimeoutError", True)


@pytest.mark.parametrize(("seconds_left", "status"), [(9, Status.PENDING), (7, Status.FAILED)])
def test_a_job_does_not_back_off_beyond_its_end(seconds_left: int, status: Status, clock: HandSetClock) -> None:
    def script(_: JobInput) -> Answer:
        raise TimeoutError("the model took too long")

    desk = Desk(Crew(script), clock=clock)  # the first pause is 7.5 s
    job_id = desk.submit()
    clock.now = desk.record(job_id).job.end_by - timedelta(seconds=seconds_left)
    desk.run(job_id)
    job = desk.record(job_id).job
    assert job.status is status
    assert job.error is not None
    assert job.error.type == "TimeoutError"


def test_a_long_reason_is_cut() -> None:
    assert len(explain(ValueError("x" * 10_000)).message) == 700


@pytest.mark.parametrize("character", ["é", "漢", "🌧"])
def test_a_reason_is_cut_between_characters(character: str) -> None:
    message = explain(ValueError(character * 10_000)).message
    assert set(message) == {character}
    assert 690 < len(message.encode()) <= 700


def test_a_reason_can_always_be_written_down() -> None:
    """A model's JSON may hold half a surrogate pair, and an error quote it."""
    explain(ValueError("the model said \ud83d")).message.encode()


def test_an_answer_that_can_not_be_written_down_still_ends_the_job() -> None:
    desk = Desk(Crew(lambda _: ANSWER.model_copy(update={"text": "half a pair: \ud83d"})))
    job_id = desk.submit()
    desk.run(job_id)
    assert desk.record(job_id).job.status.finished


def test_at_the_deadline_the_job_is_given_back_and_rung_for_once() -> None:
    desk = Desk(crew := BlockedCrew())
    job_id = desk.submit()
    desk.run(job_id, seconds=0.05)
    assert crew.started.wait(TIMEOUT)
    released = desk.record(job_id)
    assert (released.job.status, released.job.holder, released.job.relays) == (Status.PENDING, None, 1)
    assert desk.doorbell.rings == [job_id]

    crew.may_end.set()
    desk.join_crew(job_id)
    assert desk.record(job_id) == released  # the late result changes nothing
    assert desk.doorbell.rings == [job_id]


def test_a_job_given_back_is_run_again_while_its_zombie_still_lives() -> None:
    desk = Desk(zombie := BlockedCrew())
    job_id = desk.submit()
    desk.run(job_id, seconds=0.05)
    second = Desk(Crew(lambda _: ANSWER.model_copy(update={"text": "the second"})), store=desk.store)
    second.run(job_id)
    zombie.may_end.set()
    desk.join_crew(job_id)
    job, _, answer, _ = desk.record(job_id)
    assert (job.status, job.fence, job.relays) == (Status.COMPLETED, 2, 1)
    assert answer is not None
    assert answer.text == "the second"


def test_a_job_is_given_back_even_if_nobody_can_be_rung_for_and_is_due_for_the_sweeper() -> None:
    desk = Desk(crew := BlockedCrew())
    desk.doorbell.out_of_order = True
    job_id = desk.submit()
    desk.run(job_id, seconds=0.02)
    crew.may_end.set()
    job = desk.record(job_id).job
    assert job.status is Status.PENDING
    assert job.due_at is not None


def test_a_deadline_already_past_gives_the_job_back_at_once() -> None:
    desk = Desk(crew := BlockedCrew())
    job_id = desk.submit()
    desk.run(job_id, seconds=-1)
    crew.may_end.set()
    assert desk.record(job_id).job.status is Status.PENDING


def test_the_lease_is_renewed_for_as_long_as_the_crew_runs() -> None:
    desk = Desk(crew := BlockedCrew(), HASTY)
    leases: list[datetime | None] = []

    def renewing(job: Job) -> None:
        leases.append(job.lease_until)
        if len(leases) == 4:
            crew.may_end.set()

    desk.store.on_renewal = renewing
    job_id = desk.submit()
    desk.run(job_id)
    assert len(leases) >= 4
    assert leases == sorted(set(leases), key=str)
    job = desk.record(job_id).job
    assert (job.status, job.fence) == (Status.COMPLETED, 1)


def test_a_renewal_that_fails_once_does_not_end_the_run() -> None:
    desk = Desk(crew := BlockedCrew(), HASTY)
    renewals = 0

    def renewing(_: Job) -> None:
        nonlocal renewals
        renewals += 1
        if renewals == 1:
            raise Unavailable("The table did not answer.")
        crew.may_end.set()

    desk.store.on_renewal = renewing
    job_id = desk.submit()
    desk.run(job_id)
    assert renewals >= 2
    job, _, answer, _ = desk.record(job_id)
    assert (job.status, job.fence, answer) == (Status.COMPLETED, 1, ANSWER)


def test_a_run_whose_lease_was_stolen_stops_quietly() -> None:
    desk = Desk(crew := BlockedCrew(), HASTY)
    job_id = desk.submit()
    rivals: list[Job] = []

    def renewing(_: Job) -> None:
        rivals.append(desk.claim_by_a_rival(job_id))

    desk.store.on_renewal = renewing
    desk.run(job_id)
    crew.may_end.set()
    desk.join_crew(job_id)
    assert [desk.record(job_id).job] == rivals
    assert desk.doorbell.rings == []


class CallingCrew(BlockedCrew):
    """Makes one call once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.paid = 0

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        self._wait(job_input)
        calls.call(Kind.MODEL, {"asked": "one more"}, self._pay)
        return ANSWER

    def _pay(self) -> Reply:
        self.paid += 1
        return Reply(body="yes")


def test_a_crew_whose_lease_was_stolen_pays_for_nothing_more() -> None:
    desk = Desk(crew := CallingCrew(), Policy(lease=timedelta(seconds=3)))  # renewed after a second
    job_id = desk.submit()
    desk.store.on_renewal = lambda _: void(desk.claim_by_a_rival(job_id))
    desk.run(job_id)
    crew.may_end.set()
    desk.join_crew(job_id)
    assert crew.paid == 0


def test_a_crew_that_never_comes_back_does_not_keep_its_process_alive() -> None:
    desk = Desk(crew := BlockedCrew())
    job_id = desk.submit()
    desk.run(job_id, seconds=0.02)
    assert crew.started.wait(TIMEOUT)
    assert [thread.daemon for thread in threading.enumerate() if thread.name == f"crew-{job_id}"] == [True]
    crew.may_end.set()


def test_an_answer_that_comes_after_the_lease_was_stolen_is_not_the_jobs() -> None:
    rivals: list[Job] = []

    def script(_: JobInput) -> Answer:
        rivals.append(desk.claim_by_a_rival(job_id))
        return ANSWER

    desk = Desk(Crew(script))
    job_id = desk.submit()
    desk.run(job_id)
    assert desk.record(job_id) == JobRecord(rivals[0], INPUT, None)


def test_a_job_cancelled_while_it_runs_stays_cancelled() -> None:
    def script(_: JobInput) -> Answer:
        running = desk.record(job_id).job
        desk.store.save(running, transitions.cancel(running, utcnow()))
        raise ValueError("the crew was interrupted")

    desk = Desk(Crew(script))
    job_id = desk.submit()
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.error) == (Status.CANCELLED, None)


def test_a_second_bell_while_the_job_runs_returns_at_once() -> None:
    desk = Desk(crew := BlockedCrew())
    job_id = desk.submit()
    first = threading.Thread(target=desk.run, args=(job_id,))
    first.start()
    assert crew.started.wait(TIMEOUT)
    second = threading.Thread(target=desk.run, args=(job_id,))
    second.start()
    second.join(TIMEOUT / 2)
    assert not second.is_alive()
    assert first.is_alive()  # the crew was blocked all the while: the second waited for nothing
    crew.may_end.set()
    first.join(TIMEOUT)
    assert len(crew.inputs) == 1
    assert desk.record(job_id).job.status is Status.COMPLETED


def test_a_job_that_used_up_its_attempts_fails_with_a_reason(clock: HandSetClock) -> None:
    desk = Desk(Crew(), Policy(max_attempts=2), clock)
    job_id = desk.submit()
    for _ in range(3):
        desk.claim_by_a_rival(job_id)  # who dies, the first time perhaps of another job
        clock.pass_(minutes=10)
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.attempts) == (Status.FAILED, 2)
    assert job.error is not None
    assert job.error.type == "attempts_exhausted"
    assert "2 attempts" in job.error.message
    assert desk.crew.inputs == []


def lost_by_another_process(desk: Desk) -> str:
    """A job whose process has died."""
    job_id = desk.submit()
    before = desk.record(job_id).job
    long_ago = desk.clock() - timedelta(minutes=5)
    desk.store.save(before, transitions.claim(before, "a dead one", "crew-1", long_ago, desk.policy))
    return job_id


def side_by_side(desk: Desk, ordinary: str, suspect: str) -> tuple[threading.Thread, threading.Thread]:
    """A job that runs, and one that waits for its turn beside it."""
    assert isinstance(desk.crew, BlockedCrew)
    running, waiting = (
        threading.Thread(target=desk.run, args=(job_id,), daemon=True) for job_id in (ordinary, suspect)
    )
    running.start()
    assert desk.crew.started.wait(TIMEOUT)
    waiting.start()
    return running, waiting


def test_what_an_earlier_process_may_have_died_of_is_not_claimed_while_others_run() -> None:
    process = Process()
    desk = Desk(crew := BlockedCrew(), process=process)
    ordinary, suspect = desk.submit(), lost_by_another_process(desk)
    before = desk.record(suspect).job
    running, waiting = side_by_side(desk, ordinary, suspect)
    wait_until(lambda: not process.takes_jobs, within=TIMEOUT)
    assert desk.record(suspect).job == before
    crew.may_end.set()
    for thread in (running, waiting):
        thread.join(TIMEOUT)
    job = desk.record(suspect).job
    assert (job.status, job.alone, job.attempts, job.fence) == (Status.COMPLETED, True, 1, 2)
    assert process.takes_jobs


def test_a_suspect_that_is_rung_for_while_it_waits_runs_at_its_turn() -> None:
    process = Process()
    desk = Desk(crew := BlockedCrew(), process=process)
    ordinary, suspect = desk.submit(), lost_by_another_process(desk)
    running, waiting = side_by_side(desk, ordinary, suspect)
    wait_until(lambda: not process.takes_jobs, within=TIMEOUT)
    swept = Sweeper(desk.store, desk.doorbell, desk.clock, POLICY).sweep(desk.clock() + timedelta(minutes=1))
    assert swept[Swept.RUNG] == 1
    crew.may_end.set()
    for thread in (running, waiting):
        thread.join(TIMEOUT)
    assert (desk.record(suspect).job.status, len(crew.inputs)) == (Status.COMPLETED, 2)


def test_a_bell_whose_job_ended_while_it_waited_is_dropped() -> None:
    process = Process()
    desk = Desk(crew := BlockedCrew(), process=process)
    ordinary, suspect = desk.submit(), lost_by_another_process(desk)
    running, waiting = side_by_side(desk, ordinary, suspect)
    wait_until(lambda: not process.takes_jobs, within=TIMEOUT)
    before = desk.record(suspect).job
    desk.store.save(before, transitions.cancel(before, desk.clock()))
    crew.may_end.set()
    for thread in (running, waiting):
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert (len(crew.inputs), desk.doorbell.rings) == (1, [])
    assert process.takes_jobs


def test_a_job_that_takes_long_makes_room_for_a_suspect() -> None:
    process = Process()
    desk = Desk(crew := BlockedCrew(), HASTY, process=process)
    ordinary, suspect = desk.submit(), lost_by_another_process(desk)
    running, waiting = side_by_side(desk, ordinary, suspect)
    running.join(TIMEOUT / 2)  # it had twice as long
    given_back = desk.record(ordinary).job
    assert (given_back.status, given_back.relays, given_back.strikes) == (Status.PENDING, 1, 0)
    wait_until(lambda: len(crew.inputs) == 2, within=TIMEOUT)
    crew.may_end.set()
    waiting.join(TIMEOUT)
    assert desk.record(suspect).job.status is Status.COMPLETED


def test_a_job_whose_turn_does_not_come_before_the_deadline_is_left_and_rung_for() -> None:
    process = Process()
    desk = Desk(Crew(), process=process)
    suspect, ordinary = lost_by_another_process(desk), desk.submit()
    before = desk.record(suspect).job, desk.record(ordinary).job
    with process.visit() as other:
        assert other.may_share(0)
        desk.run(suspect, seconds=0.05)
    with process.visit() as other:
        assert other.may_run_alone(0, 0, 0)
        desk.run(ordinary, seconds=0.05)
    assert (desk.record(suspect).job, desk.record(ordinary).job) == before
    assert desk.doorbell.rings == [suspect, ordinary]


def test_a_bell_for_a_job_that_is_not_to_be_run_waits_for_nobody() -> None:
    process = Process()
    desk = Desk(Crew(), process=process)
    job_id = desk.submit()
    desk.run(job_id)
    with process.visit() as suspect:
        assert suspect.may_run_alone(0, 0, 0)
        desk.run(job_id)
    assert desk.doorbell.rings == []


class RenewedAfterTheLoad(WatchedStore):
    """The holder is late, not dead: it renews its lease just after somebody has looked."""

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        record = super().load(job_id, tenant)
        if record and record.job.status is Status.RUNNING:
            MemoryJobStore.save(self, record.job, transitions.renew(record.job, self._clock(), POLICY))
        return record


@pytest.mark.parametrize("max_attempts", [1, 5])
def test_a_holder_that_renews_in_time_keeps_its_job(clock: HandSetClock, max_attempts: int) -> None:
    desk = Desk(Crew(), Policy(max_attempts=max_attempts), clock, store=RenewedAfterTheLoad(clock))
    job_id = desk.submit()
    holder = desk.claim_by_a_rival(job_id)
    clock.pass_(minutes=10)
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.fence, job.holder) == (Status.RUNNING, holder.fence, holder.holder)
    assert desk.crew.inputs == []


class AnswerlessStore(WatchedStore):
    def put_answer(self, job: Job, answer: Answer) -> None:
        raise Unavailable("The table did not answer.")


def test_a_table_that_refuses_the_answer_leaves_the_job_to_its_lease() -> None:
    desk = Desk(Crew(), store=AnswerlessStore(utcnow))
    job_id = desk.submit()
    with pytest.raises(Unavailable):
        desk.run(job_id)
    job = desk.record(job_id).job
    assert job.status is Status.RUNNING
    assert job.due_at == job.lease_until is not None


# ---- whatever the table does


@pytest.mark.parametrize("surprise", [OSError("an urllib3 surprise"), Misconfigured("no"), ServiceRefused("rotated")])
def test_a_renewal_that_fails_in_an_unexpected_way_costs_nothing_while_the_lease_stands(surprise: Exception) -> None:
    desk = Desk(crew := BlockedCrew(), policy=HASTY.model_copy(update={"lease": timedelta(seconds=3)}))
    failed = threading.Event()

    def fail_once(_: Job) -> None:
        if not failed.is_set():
            failed.set()
            crew.may_end.set()
            raise surprise

    desk.store.on_renewal = fail_once
    job_id = desk.submit()
    desk.run(job_id)
    assert failed.is_set()
    assert desk.record(job_id).job.status is Status.COMPLETED


class TirelessCrew(Crew):
    """Makes one call after the other, and never ends by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.paid = 0
        self.third_call = threading.Event()
        self.stopped = threading.Event()

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        try:
            while True:
                calls.call(Kind.MODEL, {"asked": self.paid}, self._pay)
        except BaseException:
            self.stopped.set()
            raise

    def _pay(self) -> Reply:
        self.paid += 1
        if self.paid == 3:
            self.third_call.set()
        return Reply(body="reply")


class Interrupted(BaseException):
    """Such as the SystemExit or KeyboardInterrupt of a thread that waits."""


def test_whatever_ends_the_wait_no_call_begins_once_the_handler_has_answered() -> None:
    crew = TirelessCrew()

    def interrupt(outcome: "Future[Any]", seconds: float) -> bool:
        assert crew.third_call.wait(TIMEOUT)
        raise Interrupted

    desk = Desk(crew, policy=Policy(budget=Budget(calls=1_000_000)), wait=interrupt)
    with pytest.raises(Interrupted):
        desk.run(desk.submit())
    assert crew.stopped.wait(TIMEOUT)  # without the stop it would go on for ever


class RefusingStore(WatchedStore):
    """Refuses the receipts, once or always."""

    refusals = 0

    def save(self, before: Job, after: Job) -> None:
        if after.receipt != before.receipt and self.refusals:
            self.refusals -= 1
            raise ServiceRefused("The table refused the request: UnrecognizedClientException.")
        super().save(before, after)


@pytest.mark.parametrize("refusals", [1, 1000])
def test_what_the_table_refuses_is_never_the_jobs_fault(clock: HandSetClock, refusals: int) -> None:
    def script(job_input: JobInput, calls: Calls) -> Answer:
        for number in range(3):
            calls.call(Kind.MODEL, {"asked": number}, lambda: Reply(body="reply"))
        return ANSWER

    desk = Desk(ScriptedCalls(script), clock=clock, store=RefusingStore(clock))
    assert isinstance(desk.store, RefusingStore)
    desk.store.refusals = refusals
    job_id = desk.submit()
    with suppress(Unavailable):  # then the message comes again
        desk.run(job_id)
    assert desk.record(job_id).job.status is not Status.FAILED
    desk.store.refusals = 0
    clock.pass_(minutes=5)
    desk.run(job_id)
    job = desk.record(job_id).job
    assert (job.status, job.error, job.receipt.calls_paid) == (Status.COMPLETED, None, 3)


class ScriptedCalls(Crew):
    def __init__(self, script: Callable[[JobInput, Calls], Answer]) -> None:
        super().__init__()
        self._calling = script

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        return self._calling(job_input, calls)


class SlowJournal(WatchedStore):
    """Each entry takes five seconds to be read: the journal takes longer than a lease lasts."""

    shortest_left = timedelta(days=1)  # of the lease

    def journal(self, job: Job) -> Iterator[Call]:
        for call in super().journal(job):
            self._clock.pass_(seconds=5)  # type: ignore[attr-defined]
            record = self.load(job.id)
            assert record
            assert record.job.lease_until
            self.shortest_left = min(self.shortest_left, record.job.lease_until - self._clock())
            yield call


def test_a_journal_that_takes_longer_to_read_than_a_lease_lasts_is_read_under_one_lease(clock: HandSetClock) -> None:
    store = SlowJournal(clock)
    calls_made = 30

    def script(job_input: JobInput, calls: Calls) -> Answer:
        for number in range(calls_made):
            calls.call(Kind.MODEL, {"asked": number}, lambda: Reply(body="reply"))
        if first_attempt:
            raise ToolUnavailable("weather") from TimeoutError("too slow")
        return ANSWER

    first_attempt = True
    desk = Desk(ScriptedCalls(script), clock=clock, store=store)
    job_id = desk.submit()
    desk.run(job_id)
    first_attempt = False
    clock.pass_(minutes=5)
    desk.run(job_id, seconds=900)
    job = desk.record(job_id).job
    assert (job.status, job.attempts) == (Status.COMPLETED, 2)
    assert store.shortest_left >= desk.policy.lease / 2  # nobody could have claimed it meanwhile


def test_a_job_of_forty_calls_outlives_forty_workers(clock: HandSetClock) -> None:
    """Each worker has time for one call: far more relays than Lambda lets a function ring for itself."""
    asked: list[int] = []

    def ask(number: int) -> Reply:
        asked.append(number)
        clock.pass_(seconds=60)
        return Reply(body="reply")

    def script(job_input: JobInput, calls: Calls) -> Answer:
        for number in range(40):
            calls.call(Kind.MODEL, {"asked": number}, lambda number=number: ask(number))  # type: ignore[misc]
        return ANSWER

    desk = Desk(ScriptedCalls(script), clock=clock)
    job_id = desk.submit()
    while not desk.record(job_id).job.status.finished:
        desk.run(job_id, seconds=90, first_call_is_free=True)
    job = desk.record(job_id).job
    assert (job.status, job.relays, job.receipt.calls_paid) == (Status.COMPLETED, 39, 40)
    assert asked == list(range(40))
