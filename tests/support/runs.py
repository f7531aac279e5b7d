"""A job that is run attempt by attempt, in memory and by a hand-set clock."""

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from decimal import Decimal
from threading import Event, Thread
from typing import Any

import pytest

from crewrelay.jobs.errors import Unavailable
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Failure, Job, JobInput
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.execution import on_own_thread
from crewrelay.jobs.running.lease import Lease
from crewrelay.jobs.running.run import Run, RunStopped
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import HandSetClock

POLICY = Policy(lease=timedelta(seconds=60), call_floor=timedelta(seconds=2))
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
TIMEOUT = 10  # seconds until a test that hangs gives up


class Table(MemoryJobStore):
    """Fails as often as it is told to."""

    failing_puts = 0
    failing_saves = 0

    def put_call(self, job: Job, call: Call) -> Call:
        self.failing_puts -= 1
        if self.failing_puts >= 0:
            raise Unavailable("The table did not answer.")
        return super().put_call(job, call)

    def save(self, before: Job, after: Job) -> None:
        self.failing_saves -= 1
        if self.failing_saves >= 0:
            raise Unavailable("The table did not answer.")
        super().save(before, after)


class Attempts:
    """One job, and the attempts at it."""

    def __init__(self, clock: HandSetClock) -> None:
        self.clock = clock
        self.table = Table(clock)

    def start(
        self,
        policy: Policy = POLICY,
        seconds: float = 900,
        *,
        first_call_is_free: bool = False,
        fingerprint: str = "crew-1",
    ) -> Run:
        """The first attempt, or the next: whoever had the job before gives it back."""
        record = self.table.load("an-id")
        if record is None:
            job = self.table.create(transitions.submit("an-id", "acme", INPUT, self.clock(), policy), INPUT)
        else:
            job = transitions.relay(record.job, self.clock(), policy)
            self.table.save(record.job, job)
        claimed = transitions.claim(job, "me", fingerprint, self.clock(), policy)
        self.table.save(job, claimed)
        return self._run(claimed, policy, seconds, first_call_is_free=first_call_is_free)

    def fail(self, run: Run) -> None:
        """As if the crew could do nothing with the last reply."""
        failure = Failure(type="ValueError", message="nonsense")
        self.table.save(self.job, transitions.fail(self.job, failure, self.clock(), run.blamed))

    def retry(self) -> Run:
        retried = transitions.retry(self.job, self.clock(), POLICY)
        self.table.save(self.job, retried)
        claimed = transitions.claim(retried, "me", "crew-1", self.clock(), POLICY)
        self.table.save(retried, claimed)
        return self._run(claimed, POLICY, 900, first_call_is_free=True)

    def _run(self, claimed: Job, policy: Policy, seconds: float, *, first_call_is_free: bool) -> Run:
        deadline = self.clock() + timedelta(seconds=seconds)
        lease, journal = Lease(self.table, claimed, self.clock), list(self.table.journal(claimed))
        return Run(self.table, self.clock, policy, lease, journal, deadline, first_call_is_free, self._wait)

    def _wait(self, outcome: "Future[Any]", seconds: float) -> bool:
        self.clock.pass_(seconds=seconds)
        return outcome.done()

    @property
    def job(self) -> Job:
        """As it stands in the table."""
        record = self.table.load("an-id")
        assert record is not None
        return record.job

    @property
    def journal(self) -> list[Call]:
        return list(self.table.journal(self.job))

    def cancel(self) -> None:
        self.table.save(self.job, transitions.cancel(self.job, self.clock()))


def reply(text: str, tokens: int = 10, *, model: str = "scripted/one", cost: str | None = None) -> Reply:
    cost_usd = None if cost is None else Decimal(cost)
    return Reply(body=text, model=model, prompt_tokens=tokens - 1, completion_tokens=1, cost_usd=cost_usd)


def ask(
    run: Run,
    question: str,
    answer: str = "yes",
    kind: Kind = Kind.MODEL,
    tokens: int = 10,
    *,
    model: str = "scripted/one",
    cost: str | None = None,
) -> str:
    return run.call(kind, {"asked": question}, lambda: reply(answer, tokens, model=model, cost=cost)).body


def replay(run: Run, question: str, kind: Kind = Kind.MODEL) -> str:
    """The answer to a question for which nobody is to be paid."""

    def pay() -> Reply:
        raise AssertionError(f"{question} was paid for again")

    return run.call(kind, {"asked": question}, pay).body


def reason(run: Run) -> BaseException | None:
    """Why a run that is over failed."""
    return run.outcome.exception(0)


class Meanwhile:
    """Another thread's work, begun in the midst of ours: it is done at once, unless it has to wait for its turn."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._rival = Thread(target=work, daemon=True)
        self._begun = False

    def __call__(self) -> None:
        """Only the first time."""
        if not self._begun:
            self._begun = True
            self._rival.start()
            self._rival.join(0.2)

    def join(self) -> None:
        self._rival.join(TIMEOUT)
        assert not self._rival.is_alive()


class CallInFlight:
    """A call on a thread of its own that is being paid for until it may end."""

    def __init__(self, run: Run, question: str, kind: Kind = Kind.MODEL, tokens: int = 10) -> None:
        paying, self._may_end = Event(), Event()

        def pay() -> Reply:
            paying.set()
            assert self._may_end.wait(TIMEOUT)
            return reply("at last", tokens)

        self._reply = on_own_thread(lambda: run.call(kind, {"asked": question}, pay), name=question)
        assert paying.wait(TIMEOUT)

    def end(self) -> str:
        self._may_end.set()
        return self._reply.result(TIMEOUT).body


def refuse(run: Run, question: str = "one more", kind: Kind = Kind.MODEL) -> None:
    """The run stops rather than to pay for this."""
    with pytest.raises(RunStopped):
        replay(run, question, kind)
