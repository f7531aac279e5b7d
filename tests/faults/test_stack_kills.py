"""The whole stack under kill -9, gateway and crew processes, started again each time on what its file holds."""

import os
import random
import shutil
import signal
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from crewrelay.jobs.records.job import Status
from crewrelay.sqlite.database import FILE, Database
from crewrelay.system import utcnow
from tests.faults.on_sqlite import OnSqlite
from tests.support.fixtures import Figure
from tests.support.models import ScriptedModel
from tests.support.stack import RunningStack, alive, children, model_variables, running_stack
from tests.support.waiting import wait_until

LONG_FORM = os.environ.get("FAULTS") == "long"
JOBS, KILLS, CREWS = (200, 10, 2) if LONG_FORM else (24, 2, 1)
CALLS = 3
SHARE = JOBS // (KILLS + 1)  # of each start


class Caller:
    """Submits jobs, each under a key of its own, and repeats what was not answered with 202 after the next start."""

    def __init__(self, jobs: int) -> None:
        self.accepted: dict[str, str] = {}  # job ids by topic
        self._waiting = deque(f"topic number {number}" for number in range(jobs))

    def submit(self, client: httpx.Client, jobs: int) -> None:
        """So many at most; fewer if the stack dies."""
        for _ in range(min(jobs, len(self._waiting))):
            topic = self._waiting.popleft()
            try:
                self.accepted[topic] = self.submitted(client, topic)
            except httpx.TransportError:
                return self._waiting.append(topic)

    def submitted(self, client: httpx.Client, topic: str) -> str:
        body, headers = {"topic": topic, "language": "en"}, {"Idempotency-Key": topic}
        answer = client.post("/crewai/run/async", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["job_id"]
        return job_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """That of the jobs, whose transitions are kept."""
    OnSqlite(tmp_path / "data").close()
    return tmp_path / "data"


@contextmanager
def stack_of(folder: Path, model: ScriptedModel) -> Iterator[RunningStack]:
    variables = {"CREWRELAY_LEASE_SECONDS": "2"}
    with running_stack(CREWS, "--auth", "--data", str(folder), **model_variables(model), **variables) as stack:
        yield stack


def kill(stack: RunningStack) -> None:
    """The crew processes have sessions of their own: it takes one signal for each."""
    pids = [*children(stack.process.pid), stack.process.pid]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    stack.process.wait()
    wait_until(lambda: not any(map(alive, pids)), within=10)


def left_behind(folder: Path, copy: Path) -> set[str]:
    """The jobs that were running. A copy is looked at, so that it's the stack that recovers the file."""
    shutil.copytree(folder, copy)
    database = Database(copy / FILE)
    assert database.check() == "ok"
    with database.reading() as connection:
        return {row["id"] for row in connection.execute("SELECT id FROM jobs WHERE status = ?", (Status.RUNNING,))}


def test_the_stack_survives_that_all_of_it_is_killed(models: int, folder: Path, tmp_path: Path, figure: Figure) -> None:
    caller, chance, running = Caller(JOBS), random.Random(0), Counter[str]()
    first_token = ""
    with closing(ScriptedModel(models, "--delay", "0.15")) as model:
        for number in range(KILLS):
            with stack_of(folder, model) as stack, ThreadPoolExecutor() as pool:
                first_token = first_token or stack.client.headers["Authorization"]
                caller.submit(stack.client, SHARE // 2)
                enough = model.calls() + chance.randint(3, SHARE // 2 * CALLS)
                wait_until(lambda enough=enough: model.calls() >= enough, within=60)  # type: ignore[misc]
                some = len(caller.accepted) + chance.randrange(SHARE // 2)
                submitting = pool.submit(caller.submit, stack.client, SHARE)
                wait_until(lambda some=some: len(caller.accepted) >= some, within=20, every=0.001)  # type: ignore[misc]
                kill(stack)
                submitting.result()
            running.update(left_behind(folder, tmp_path / f"copy {number}"))
        with stack_of(folder, model) as stack:
            stack.client.headers["Authorization"] = first_token
            caller.submit(stack.client, JOBS)
            wait_until(lambda: set(stack.jobs().values()) == {Status.COMPLETED}, within=200, every=0.5)
            again = {topic: caller.submitted(stack.client, topic) for topic in caller.accepted}
            one = stack.client.get(f"/crewai/status/{again['topic number 0']}").json()
        paid, reached = model.calls_by("topic"), model.calls()
    assert not list(folder.glob("jobs.db-*"))  # a stack that is stopped leaves all in the one file
    assert (one["status"], one["result"][:21]) == ("completed", "About topic number 0:")
    assert again == caller.accepted
    assert len(again) == JOBS
    with closing(OnSqlite(folder)) as engine:
        assert set(engine.job_ids()) == set(again.values())
        transitions = engine.transitions()
        for topic, job_id in again.items():
            story = transitions[job_id]
            assert [step.after.status for step in story if step.ends] == [Status.COMPLETED]
            assert all(step.is_lawful for step in story)
            assert CALLS <= paid[topic] <= CALLS + sum(step.takes_over for step in story)
        assert all(engine.store(utcnow).load(job_id) for job_id in again.values())
    figure(
        f"{JOBS} jobs, the whole stack killed {KILLS} times with {running.total()} jobs running: 0 lost, each ended "
        f"once, {reached} calls paid of {JOBS * CALLS} needed, the file sound after each kill"
    )
    assert running.total() > 0
    assert reached <= JOBS * CALLS + running.total()  # a running job has one call under way at most
