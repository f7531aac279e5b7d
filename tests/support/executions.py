"""An execution by a hand-set clock: what happens during each of its waits is set by the test."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta
from threading import Event
from threading import enumerate as threads
from typing import Any

from crewrelay.jobs.errors import CrewrelayError, Unavailable
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.job import Failure, Job, JobInput
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.execution import Execution, done_within
from crewrelay.jobs.running.process import Process
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock

POLICY = Policy(lease=timedelta(seconds=60))  # renewed every 20 s
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
ANSWER = Answer(text="an answer", usage=Usage(model="scripted/one"))
PATIENCE = 5  # seconds until a test that hangs gives up

Script = Callable[[Calls], Answer]


class ScriptedCrew:
    def __init__(self, script: Script = lambda calls: ANSWER) -> None:
        self.script = script
        self.version = "crew-1"
        self.runs = 0

    def fingerprint(self, job_input: JobInput) -> str:
        return self.version

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        self.runs += 1
        return self.script(calls)

    def explain(self, error: BaseException) -> Failure:
        if isinstance(error, CrewrelayError):
            return Failure.of(error)
        return Failure(type=type(error).__name__, message="It failed.", retryable=isinstance(error, TimeoutError))


class PausedCrew(ScriptedCrew):
    """Waits until it may go on, and then does what its script says."""

    def __init__(self, script: Script = lambda calls: ANSWER) -> None:
        super().__init__(script)
        self.may_go_on = Event()

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        assert self.may_go_on.wait(PATIENCE)
        return super().run(job_input, calls)


class Table(MemoryJobStore):
    """Takes its time for each entry of a journal, or can't read it; keeps when leases were renewed."""

    def __init__(self, clock: HandSetClock) -> None:
        super().__init__(clock)
        self._hand_set = clock
        self.seconds_per_entry = 0.0
        self.journals_read = 0
        self.journal_error: Exception | None = None
        self.answer_error: Exception | None = None
        self.renewals_fail = False
        self.renewals: list[datetime] = []
        self.before_a_renewal: Callable[[], None] = lambda: None
        self.before_the_answer: Callable[[], None] = lambda: None

    def save(self, before: Job, after: Job) -> None:
        if (before.status, before.fence, before.receipt) == (after.status, after.fence, after.receipt):
            self.renewals.append(self._hand_set())
            self.before_a_renewal()
            if self.renewals_fail:
                raise Unavailable("The table did not answer.")
        super().save(before, after)

    def journal(self, job: Job) -> Iterator[Call]:
        self.journals_read += 1
        for call in super().journal(job):
            self._hand_set.pass_(seconds=self.seconds_per_entry)
            yield call
        if self.journal_error:
            raise self.journal_error

    def put_answer(self, job: Job, answer: Answer) -> None:
        self.before_the_answer()
        if self.answer_error:
            raise self.answer_error
        super().put_answer(job, answer)


class Desk:
    """All that an execution works on. During each of its waits the next thing of `meanwhile` happens; once there is
    none left, the crew comes to its end. `waited` is for how many seconds it was ready to wait.
    """

    def __init__(
        self, clock: HandSetClock, crew: ScriptedCrew, policy: Policy = POLICY, process: Process | None = None
    ) -> None:
        self.clock, self.crew, self.policy = clock, crew, policy
        self.table, self.doorbell = Table(clock), MemoryDoorbell()
        self.meanwhile: list[Callable[[], object]] = []
        self.waited: list[float] = []
        ids = iter(range(1000))
        self._execution = Execution(
            self.table,
            self.doorbell,
            crew,
            clock,
            lambda: f"id-{next(ids)}",
            lambda: 0.5,
            policy,
            self._wait,
            process,
        )

    def _wait(self, outcome: "Future[Any]", seconds: float) -> bool:
        self.waited.append(seconds)
        if self.meanwhile:
            self.meanwhile.pop(0)()
            return outcome.done()
        assert done_within(outcome, PATIENCE)
        return True

    def submit(self) -> str:
        job = transitions.submit("an-id", "acme", INPUT, self.clock(), self.policy)
        return self.table.create(job, INPUT).id

    def run(self, seconds: float = 900, meanwhile: Iterable[Callable[[], object]] = (), **options: Any) -> Job:
        """Answer the job's bell; the job as it is then."""
        self.answer_bell(seconds, meanwhile, **options)
        return self.job

    def answer_bell(self, seconds: float = 900, meanwhile: Iterable[Callable[[], object]] = (), **options: Any) -> None:
        self.meanwhile = list(meanwhile)
        self._execution.run("an-id", self.clock() + timedelta(seconds=seconds), **options)

    @property
    def job(self) -> Job:
        record = self.table.load("an-id")
        assert record
        return record.job

    def passes(self, seconds: float) -> Callable[[], None]:
        return lambda: self.clock.pass_(seconds=seconds)

    def crew_ends(self) -> None:
        """Wait until the crew's thread has ended."""
        for thread in threads():
            if thread.name == "crew-an-id":
                thread.join(PATIENCE)
                assert not thread.is_alive()


def asks(*questions: str, then: BaseException | None = None, kind: Kind = Kind.MODEL) -> Script:
    """A crew that pays for these, and then has its answer or fails."""

    def script(calls: Calls) -> Answer:
        for question in questions:
            calls.call(kind, {"asked": question}, lambda: Reply(body="a reply", prompt_tokens=9, completion_tokens=1))
        if then:
            raise then
        return ANSWER

    return script
