"""A process that has imported what functions import, and forks them: they may be killed by the hundred.

A fork is ready in a third of a second, an import takes four. Each line of its input is the JSON of a Birth, and is
answered with the pid of the child, or of pids, and is answered with 0 once those children are dead. At the end of its
input it kills every child and ends.
"""

import importlib
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, NamedTuple

from tests.faults.injection import Fate, Faults, Write

# What functions import at their first use, or in their handlers.
_MODULES = """
boto3 crewai.skills.tool openai.resources.chat crewrelay.events.bells crewrelay.wiring.on_aws
crewrelay.wiring.on_sqlite crewrelay.crews.running.building crewrelay.http.api yaml crewrelay.jobs.sweeper
crewrelay.local.event_sources crewrelay.system
""".split()


class Birth(NamedTuple):
    """`function` is polled for, or, with a `body`, invoked once: the worker with that bell, the API with that topic.
    `fate` is that of the `nth` write (from 1) among `writes`.
    """

    function: str
    environment: dict[str, str]
    body: str = ""
    fate: str = ""
    nth: int = 1
    writes: tuple[Write, ...] = ()


def main() -> None:
    _import_everything()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no burial
    print("ready 0", flush=True)
    children: list[int] = []
    for line in sys.stdin:
        words = json.loads(line)
        if all(isinstance(word, int) for word in words):
            _kill(words)
            print(0, flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _live(Birth(*words))
        children.append(pid)
        print(pid, flush=True)
    _kill(children)


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it has ended by itself, also between two of these lines
            if _is_ours(pid):
                os.kill(pid, signal.SIGKILL)


def _is_ours(pid: int) -> bool:
    """Numbers of dead processes are given to others."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1]) == os.getpid()
    except FileNotFoundError:
        return False


def _import_everything() -> None:
    from crewrelay.crews.running.tuning import complete_models
    from crewrelay.retrieval.embedded.collections import EmbeddedRetriever
    from crewrelay.wiring import retrieval

    for module in _MODULES:
        importlib.import_module(module)
    complete_models()
    retriever = EmbeddedRetriever()
    retriever.retrieve("warm up", top_k=1)
    vars(retrieval)["retriever"] = lambda *_: retriever  # loading it takes a second
    assert threading.active_count() == 1, "a fork takes only the thread that forks along"


def _live(birth: Birth) -> None:
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # standard output is the nursery's
        os.environ.update(birth.environment)
        threading.Thread(target=_die_with_nursery, args=(os.getppid(),), daemon=True).start()
        _work(birth)
    finally:
        os._exit(1)


def _work(birth: Birth) -> None:
    from crewrelay.local.event_sources import Context, EventSource, Schedule
    from crewrelay.settings import JobSettings
    from crewrelay.system import this_process
    from crewrelay.wiring import jobs
    from tests.faults.engines import put_into_functions
    from tests.faults.poison import poison

    if topic := os.environ.get("POISON"):
        poison(topic)
    if birth.fate:
        faults = Faults()
        faults.after(birth.nth - 1, Fate(birth.fate), *map(Write, birth.writes))
        put_into_functions(faults)
    if birth.function == "api":
        return _post(birth.body)
    handler = _handler(birth.function)
    if birth.body:
        record = {"messageId": "1", "eventSource": "aws:sqs", "body": birth.body, "attributes": {}}
        handler({"Records": [record]}, Context(birth.function, 900))
        os._exit(0)
    if birth.function == "sweeper":
        seconds = float(os.environ.get("SWEEP_SECONDS") or os.environ["CREWRELAY_LEASE_SECONDS"])
        Schedule(handler, name="sweeper", seconds=seconds, timeout=60).start()
    elif birth.function == "intake":
        queue = jobs.intake_queue(JobSettings.read(), os.environ.get("CREWRELAY_INTAKE_QUEUE_URL", ""))
        EventSource(queue, handler, name="intake", concurrency=1, timeout=60).start()
    else:
        EventSource(
            jobs.doorbell(JobSettings.read()),
            handler,
            name="worker",
            concurrency=1,
            timeout=900,
            is_to_poll=lambda: this_process.takes_jobs,
        ).start()
    signal.pause()


def _post(topic: str) -> None:
    from starlette.testclient import TestClient

    from api.handler import app

    TestClient(app).post("/crewai/run/async", json={"topic": topic, "language": "en"})


def _handler(function: str) -> Any:
    if function == "sweeper":
        from sweeper.handler import handler as sweeper

        return sweeper
    if function == "intake":
        from intake.handler import handler as intake

        return intake
    from worker.handler import handler as worker

    return worker


def _die_with_nursery(nursery: int) -> None:
    ended = threading.Event()
    while os.getppid() == nursery:
        ended.wait(0.5)
    os._exit(0)


if __name__ == "__main__":
    main()
