"""An execution by the real clock, unless a test sets another; the one of executions.py goes by a hand-set clock."""

import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from crewrelay.crews.models.failures import explain
from crewrelay.jobs.ports import Calls, Clock, JobRecord, Wait
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.execution import Execution, done_within
from crewrelay.jobs.running.process import Process
from crewrelay.system import utcnow
from crewrelay.testing import MemoryDoorbell, MemoryJobStore

POLICY = Policy()
HASTY = Policy(lease=timedelta(seconds=0.15))  # renewed every 50 ms
INPUT = JobInput(crew="research", inputs={"topic": "neural networks", "language": "en"})
ANSWER = Answer(text="an answer", usage=Usage(model="scripted/one"))
TIMEOUT = 10  # seconds until a test that hangs gives up

Script = Callable[[JobInput], Answer]


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


class ScriptedCalls(Crew):
    def __init__(self, script: Callable[[JobInput, Calls], Answer]) -> None:
        super().__init__()
        self._calling = script

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        return self._calling(job_input, calls)


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


def lost_by_another_process(desk: Desk) -> str:
    """A job whose process has died."""
    job_id = desk.submit()
    before = desk.record(job_id).job
    long_ago = desk.clock() - timedelta(minutes=5)
    desk.store.save(before, transitions.claim(before, "a dead one", "crew-1", long_ago, desk.policy))
    return job_id
