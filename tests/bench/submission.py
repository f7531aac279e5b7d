"""How long a submission takes, one after the other: against a route that commits one row, and what others use.

Nothing runs beside it: the crews of crewrelay wait for a model that does not answer, and the others have no workers.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench import load, systems
from tests.bench.sizes import AWS, STARTS_WITHIN, size
from tests.bench.systems import CORES, CREWS_A_PROCESS, FLOOR, Processes
from tests.support.models import ScriptedModel
from tests.support.stack import free_port
from tests.support.waiting import wait_until

SUBMISSIONS, WARM = size(500, 20), size(50, 5)
_QUEUES = {systems.CELERY: "celery_tasks", systems.DRAMATIQ: "dramatiq_tasks", systems.TASKIQ: "taskiq_tasks"}


def measure(server: int) -> dict[str, Any]:
    found: dict[str, dict[str, float]] = {}
    with closing(ScriptedModel(server, "--statuses", "hang", "--for-ever")) as model:
        with _floor(model) as url:
            found[FLOOR] = _submitted(url)
        for name in (systems.SQLITE, systems.EMULATOR)[: 1 + AWS]:
            with systems.SYSTEMS[name](model) as system:
                _occupy(system.url, model)
                found[name] = _submitted(system.url)
        for name, tasks in _QUEUES.items():
            with _front(model, tasks) as url:
                found[name] = _submitted(url)
    return {"submissions": SUBMISSIONS, "systems": found}


def _submitted(url: str) -> dict[str, float]:
    load.submit(url, [f"warm {number}" for number in range(WARM)], threads=1)
    taken = load.submit(url, [f"job {number}" for number in range(SUBMISSIONS)], threads=1)
    return load.milliseconds(list(taken.values()))


def _occupy(url: str, model: ScriptedModel) -> None:
    """Until every crew that can run waits for the model."""
    before = model.calls()
    load.submit(url, [f"occupied {number}" for number in range(2 * CORES * CREWS_A_PROCESS)])
    seen, since = -1, time.monotonic()

    def still() -> bool:
        nonlocal seen, since
        if (calls := model.calls()) != seen:
            seen, since = calls, time.monotonic()
        return seen > before and time.monotonic() > since + 2

    wait_until(still, within=STARTS_WITHIN, every=0.2)


@contextmanager
def _floor(model: ScriptedModel) -> Iterator[str]:
    port = free_port()
    with TemporaryDirectory() as folder, Processes(systems.peer_environment(model)) as processes:
        processes.start("tests.bench.peers.floor", str(port), f"{folder}/jobs.db")
        wait_until(lambda: systems.healthy(port), within=STARTS_WITHIN)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _front(model: ScriptedModel, tasks: str) -> Iterator[str]:
    port = free_port()
    with ExitStack() as cleanup:
        redis_url, _ = cleanup.enter_context(systems.redis())
        variables = systems.peer_environment(model, BENCH_REDIS_URL=redis_url)
        front = cleanup.enter_context(Processes(variables))
        front.start("tests.bench.peers.front", str(port), f"tests.bench.peers.{tasks}")
        wait_until(lambda: systems.healthy(port), within=STARTS_WITHIN)
        yield f"http://127.0.0.1:{port}"
