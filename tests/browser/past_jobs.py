"""Jobs that ran before a stack starts: real runs of scripted crews on its SQLite file, by a clock that they move."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from crewrelay.crews.models.failures import explain
from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.event_log import logged
from crewrelay.jobs.records.job import Failure, Job, JobInput
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import Feedback
from crewrelay.jobs.running.execution import Execution
from crewrelay.sqlite.database import FILE, Database
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.system import new_id, utcnow
from crewrelay.testing import MemoryDoorbell
from tests.support.fixtures import HandSetClock

TENANT = "local"
POLICY = Policy()

Script = Callable[[Calls], Answer]


class _Store(SqliteJobStore):
    """Takes no more writes once the process that writes is dead."""

    dead = False

    def save(self, before: Job, after: Job) -> None:
        if self.dead:
            raise StaleWrite("the process is dead")
        super().save(before, after)


class _Crew:
    def __init__(self) -> None:
        self.script: Script

    def fingerprint(self, job_input: JobInput) -> str:
        return "scripted"

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        return self.script(calls)

    def explain(self, error: BaseException) -> Failure:
        if isinstance(error, FailedAs):
            return error.failure
        return explain(error)


class FailedAs(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class PastJobs:
    def __init__(self, folder: Path, ago: timedelta) -> None:
        self.clock = HandSetClock()
        self.clock.now = utcnow() - ago
        self._store = _Store(Database(folder / FILE), self.clock)
        self._crew = _Crew()
        bell = MemoryDoorbell()
        self._execution = Execution(self._store, bell, self._crew, self.clock, new_id, lambda: 0.5, POLICY)
        self._intervention = Intervention(self._store, bell, self.clock, POLICY, 1000)

    def submitted(self, inputs: dict[str, str], crew: str = "research") -> str:
        job_input = JobInput(crew=crew, inputs=dict(inputs))
        job = transitions.submit(new_id(), TENANT, job_input, self.clock(), POLICY)
        self._store.create(logged(None, job, self.clock()), job_input)
        self.clock.pass_(seconds=0.4)
        return job.id

    def runs(self, job_id: str, script: Script) -> None:
        self._crew.script = script
        self._execution.run(job_id, self.clock() + timedelta(minutes=10), first_call_is_free=True)

    def dies_in(self, job_id: str, script: Script) -> None:
        """Its process dies at the end of the script. Its lease runs out."""

        def dying(calls: Calls) -> Answer:
            script(calls)
            self._store.dead = True
            raise RuntimeError("killed")

        self.runs(job_id, dying)
        self._store.dead = False
        self.clock.pass_(seconds=75)

    def answered(self, job_id: str, feedback: str) -> None:
        record = self._store.load(job_id)
        assert record is not None
        assert record.job.question is not None
        self._intervention.answer(TENANT, job_id, record.job.question, Feedback(text=feedback))

    def cancelled(self, job_id: str) -> None:
        self._intervention.cancel(TENANT, job_id)

    def model(
        self, calls: Calls, asked: str, seconds: float, given: int, made: int, model: str = "openai/gpt-5-mini"
    ) -> None:
        usd = Decimal(given) * Decimal("0.00000025") + Decimal(made) * Decimal("0.000002")
        self._call(calls, Kind.MODEL, asked, seconds, Reply(
            body='"…"', model=model, prompt_tokens=given, completion_tokens=made, cost_usd=usd
        ))  # fmt: skip

    def search(self, calls: Calls, asked: str, seconds: float) -> None:
        self._call(calls, Kind.RETRIEVAL, asked, seconds, Reply(body="[]"))

    def tool(self, calls: Calls, asked: str, seconds: float) -> None:
        self._call(calls, Kind.TOOL, asked, seconds, Reply(body='"…"'))

    def _call(self, calls: Calls, kind: Kind, asked: str, seconds: float, reply: Reply) -> None:
        def pay() -> Reply:
            self.clock.pass_(seconds=seconds)
            return reply

        calls.call(kind, {"asked": asked}, pay)
        self.clock.pass_(seconds=0.15)
