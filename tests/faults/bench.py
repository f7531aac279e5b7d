"""A deployment that may be broken on purpose: storage, model, and functions in processes that may be killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from crewrelay.crews.environment import CREW_ENVIRONMENT
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.submission import Submission
from crewrelay.system import new_id, utcnow
from crewrelay.testing import MemoryDoorbell
from tests.faults.engines import Engine
from tests.faults.injection import Fate, Write
from tests.faults.nursery import Birth
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT
from tests.support.stack import environment as own_environment
from tests.support.stack import model_variables
from tests.support.waiting import wait_until


def job_input(topic: str) -> JobInput:
    return JobInput(crew="research", inputs={"topic": topic, "language": "en"})


class Nursery:
    """Gives birth to processes of functions, for any number of threads; see nursery.py."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._turn = threading.Lock()  # a line belongs to whoever asked last

    def bear(self, birth: Birth) -> int:
        """The pid of a new process."""
        return self._say(birth)

    def kill(self, pids: list[int]) -> None:
        """Those of them that still live: numbers of dead processes are given to others."""
        self._say(pids)

    def _say(self, words: Any) -> int:
        assert self._process.stdin
        assert self._process.stdout
        with self._turn:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


@contextmanager
def nursery() -> Iterator[Nursery]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.nursery"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=own_environment(**CREW_ENVIRONMENT, CREWAI_STORAGE_DIR=os.environ["CREWAI_STORAGE_DIR"]),
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready 0\n"
        yield Nursery(process)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


class Worker(NamedTuple):
    """A process, and the name under which it calls the model."""

    pid: int
    caller: str


class Bench:
    """One deployment: a fresh engine, and functions that are started and killed one by one."""

    def __init__(self, engine: Engine, model: ScriptedModel, nursery: Nursery, policy: Policy, **settings: str) -> None:
        self.engine = engine
        self.model = model
        self.policy = policy
        self.store = engine.store(utcnow)
        self._nursery = nursery
        self._born: list[int] = []
        self.environment = {
            **engine.variables,
            **model_variables(model),
            "CREWRELAY_AUTH": "false",
            **settings,
            "CREWRELAY_LEASE_SECONDS": str(policy.lease.total_seconds()),
            "CREWRELAY_MAX_ATTEMPTS": str(policy.max_attempts),
            "CREWRELAY_BACKOFF_SECONDS": str(policy.first_backoff.total_seconds()),
        }

    def submit(self, topic: str, *, ring: bool = True) -> Job:
        doorbell = self.engine.doorbell if ring else MemoryDoorbell()
        return Submission(self.store, doorbell, utcnow, new_id, self.policy).submit("local", job_input(topic))

    def start(
        self, function: str, fate: Fate | None = None, writes: tuple[Write, ...] = (), nth: int = 1, **settings: str
    ) -> Worker:
        """A process that is polled for like a function of AWS's, until it is killed; its `nth` such write has a fate.

        SWEEP_SECONDS is among its settings: so often a sweeper sweeps that is to do it more than once in a lease.
        """
        caller = f"{function}-{uuid.uuid4()}"
        birth = Birth(function, self._as(caller) | settings, fate=fate or "", nth=nth, writes=writes)
        return Worker(self._bear(birth), caller)

    def invoke(
        self, job: Job, caller: str, fate: Fate | None = None, nth: int = 1, writes: tuple[Write, ...] = ()
    ) -> int:
        """A process that answers one bell, whose `nth` of these writes meets its fate; its pid."""
        return self._bear(Birth("worker", self._as(caller), job.id, fate or "", nth, writes))

    def submits(self, topic: str, fate: Fate, write: Write) -> int:
        """A process that posts a topic to the API function, and whose first such write meets its fate; its pid."""
        return self._bear(Birth("api", self.environment, topic, fate, 1, (write,)))

    def job_ids(self) -> list[str]:
        return self.engine.job_ids()

    def job(self, job_id: str) -> Job:
        record = self.store.load(job_id)
        assert record
        return record.job

    def status(self, job_id: str) -> Status:
        return self.job(job_id).status

    def answer(self, job_id: str) -> bytes:
        """That of a completed job, as JSON."""
        record = self.store.load(job_id)
        assert record
        assert record.answer, record.job
        return record.answer.model_dump_json().encode()

    def _bear(self, birth: Birth) -> int:
        pid = self._nursery.bear(birth)
        self._born.append(pid)
        return pid

    def end(self) -> None:
        """Kill what is left of its processes."""
        self._nursery.kill(self._born)

    def wait_for_all(self, job_ids: Iterable[str], within: float) -> None:
        """Until they have ended. Those that have are not asked for again: the engine has enough to do."""
        running = list(job_ids)

        def none_left() -> bool:
            while running and self.status(running[-1]).finished:
                running.pop()
            return not running

        wait_until(none_left, within, every=0.5)

    def _as(self, caller: str) -> dict[str, str]:
        """The model server knows its callers by their keys."""
        return self.environment | {"CREWRELAY_MODEL_API_KEY": caller}


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


NewBench = Callable[..., Bench]
