"""What a crew's run logs: nothing above INFO while all goes well, and every real fault."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.execution import Execution
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.crews import AGENTS, OwnCrews, Shelf
from tests.support.doubles.crew import ScriptedModel, weather_call
from tests.support.fixtures import HandSetClock

POLICY = Policy(lease=timedelta(seconds=600), call_floor=timedelta(seconds=30))
TOOLS = 'def weather(city: str) -> str:\n    """Tells the weather of a city."""\n    return "rain"\n'


@pytest.fixture
def tales(own_crews: OwnCrews) -> str:
    """A crew of one agent with a tool."""
    folder = own_crews.put("tales", agents=AGENTS + "  tools: [weather]\n")
    (folder / "tools.py").write_text(TOOLS)
    return "tales"


class Bench:
    """A real crew's job on a store in memory. `meanwhile` happens during the model's first call."""

    def __init__(self, clock: HandSetClock, crew: str, meanwhile: Callable[["Bench"], object]) -> None:
        self.clock = clock
        self.store = MemoryJobStore(clock)
        self._crew = JobInput(crew=crew, inputs={"topic": "rain"})
        self.job_id = str(uuid4())
        self.store.create(transitions.submit(self.job_id, "acme", self._crew, clock(), POLICY), self._crew)

        def script(messages: Any) -> Any:
            heard = any(message["role"] == "tool" for message in messages)
            if not heard:
                meanwhile(self)
            return "It rains." if heard else weather_call("Ulm")

        self._runner = CrewRunner(lambda *_: ScriptedModel(script), Shelf())

    def run(self) -> Job:
        execution = Execution(
            self.store, MemoryDoorbell(), self._runner, self.clock, lambda: str(uuid4()), lambda: 0.5, POLICY
        )
        execution.run(self.job_id, self.clock() + timedelta(seconds=60), first_call_is_free=True)
        for thread in threading.enumerate():
            if thread.name == f"crew-{self.job_id}":  # it may have more to log after the run has ended
                thread.join(10)
                assert not thread.is_alive()
        return self.job

    @property
    def job(self) -> Job:
        record = self.store.load(self.job_id)
        assert record
        return record.job


def nothing(_: Bench) -> None: ...


def time_passes(bench: Bench) -> None:
    bench.clock.pass_(seconds=50)


def cancel(bench: Bench) -> None:
    bench.store.save(bench.job, transitions.cancel(bench.job, bench.clock()))


def fail(_: Bench) -> None:
    raise ValueError("no such model")


@pytest.mark.parametrize(
    ("meanwhile", "status", "paid"),
    [(nothing, Status.COMPLETED, 3), (time_passes, Status.PENDING, 1), (cancel, Status.CANCELLED, 1)],
    ids=["an end", "a relay", "a cancel"],
)
def test_a_run_that_goes_well_warns_of_nothing(
    clock: HandSetClock,
    tales: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    meanwhile: Callable[[Bench], object],
    status: Status,
    paid: int,
) -> None:
    bench = Bench(clock, tales, meanwhile)
    with caplog.at_level(logging.INFO):
        job = bench.run()
    assert (job.status, len(list(bench.store.journal(job)))) == (status, paid)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")


def test_a_real_fault_is_logged_by_crewai_and_by_us(
    clock: HandSetClock, tales: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        job = Bench(clock, tales, fail).run()
    assert job.status is Status.FAILED
    told = {(record.name, record.levelname) for record in caplog.records if record.levelno >= logging.WARNING}
    assert told == {("crewai.flow.runtime", "ERROR"), ("crewrelay.jobs.running.execution", "WARNING")}
