"""The stack: engine, API app, and crew processes that are restarted whenever they end."""

import asyncio
import contextlib
import importlib
import os
import secrets
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from crewrelay.crews.environment import CREW_ENVIRONMENT
from crewrelay.jobs.errors import Misconfigured
from crewrelay.local.child import GATEWAY_VARIABLE, MISCONFIGURED, RECYCLED
from crewrelay.local.engines import Engine, Watch
from crewrelay.local.own_aws import SomeEndpoints
from crewrelay.local.process import ChildDied, ChildProcess

TEMPLATE = Path(__file__).parents[3] / "template.yaml"

LOOPBACK = "127.0.0.0/8,::1/128"
_OWN = {
    "CREWRELAY_LEASE_SECONDS": "15",  # short, so that the jobs of a killed crew process go on within seconds
    "CREWRELAY_WEBHOOK_NETWORKS": LOOPBACK,  # n8n and the like are on the same machine
}

_MOST_FAILED_STARTS = 3  # in a row

# A terminal is for people: what goes wrong, and no metrics. Each can be asked for.
_QUIET = {"POWERTOOLS_LOG_LEVEL": "WARNING", "POWERTOOLS_METRICS_DISABLED": "true"}

# A crew process that is silent for so many leases is killed. After one lease its jobs are anybody's, after two the
# sweeper has rung for them all; the rest is for what holds the interpreter's lock for long and does come back.
_SILENT_LEASES = 4


class StackFailed(Exception):
    """The stack can't go on; the message is for the person who started it."""


Guard = Callable[[ASGIApp], ASGIApp]  # puts CORS and the authorizer before an app


class Stack:
    """Each crew process is what an execution environment is on Lambda. With `auth`, callers need a token."""

    def __init__(self, engine: Engine, crew_processes: int, auth: bool) -> None:
        self._engine = engine
        self._crew_processes = crew_processes
        self.api: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
        self.guard: asyncio.Future[Guard] = asyncio.get_running_loop().create_future()
        self._auth = auth
        self.secret = secrets.token_urlsafe()  # by which crew processes know the gateway
        self._crews: list[ChildProcess] = []  # those that are up; the next request goes to the first
        self._crew_is_up = asyncio.Event()

    async def run(self) -> None:
        """Start everything, then keep it running. Never returns; raises StackFailed."""
        async with contextlib.AsyncExitStack() as cleanup:
            folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="crewrelay-"))
            try:
                async with asyncio.TaskGroup() as tasks:
                    own = CREW_ENVIRONMENT | {"CREWAI_STORAGE_DIR": f"{folder}/crewai", GATEWAY_VARIABLE: self.secret}
                    if process := await self._engine.start(cleanup, folder):
                        tasks.create_task(self._watch(process))
                    if self._engine.private_home:
                        own["HOME"] = folder  # CrewAI writes there; nobody needs credentials from it
                    await asyncio.to_thread(_prepare_environment, self._engine, self._auth)
                    if watch := self._engine.watch():
                        tasks.create_task(self._wake_crews(cleanup.enter_context(closing(watch))))
                    environment = {**os.environ, **own}
                    # A crew process takes seconds of CPU to start: the first ones do so while the API is imported.
                    first = max(1, min(self._crew_processes, (os.cpu_count() or 1) - 1))
                    for _ in range(first):
                        tasks.create_task(self._keep_crew_running(environment, folder))
                    await self._load_api()
                    await self._crew_is_up.wait()
                    for _ in range(first, self._crew_processes):
                        tasks.create_task(self._keep_crew_running(environment, folder))
            except* (StackFailed, Misconfigured, SomeEndpoints, ChildDied) as failures:
                said = str(failures.exceptions[0])
            raise StackFailed(said)  # not there: before 3.11.4 Python would make another group of it

    async def crew_url(self) -> str:
        """The URL of a crew process, round robin; waits until there is one."""
        while not self._crews:
            await self._crew_is_up.wait()
        self._crews.append(self._crews.pop(0))
        return self._crews[-1].url

    async def ready(self) -> None:
        await asyncio.shield(self.api)
        await self._crew_is_up.wait()

    async def _load_api(self) -> None:
        self.guard.set_result(await asyncio.to_thread(_guard, self._auth))
        module = await asyncio.to_thread(importlib.import_module, "api.handler")
        self.api.set_result(module.app)

    async def _wake_crews(self, watch: Watch) -> None:
        """One process watches for all of them."""
        while True:
            await asyncio.to_thread(watch.wait)
            for crew in self._crews:
                crew.wake()

    async def _watch(self, emulator: ChildProcess) -> None:
        code = await emulator.ended()
        raise StackFailed(f"the AWS emulator ended with code {code}; its memory was the table, so all jobs are lost")

    async def _keep_crew_running(self, environment: dict[str, str], folder: str) -> None:
        failed_starts = 0
        while True:
            try:
                code = await self._run_crew(environment, folder)
                failed_starts = 0
            except ChildDied as died:
                code, failed_starts = died.code, failed_starts + 1
            if code == MISCONFIGURED:
                raise StackFailed("")  # the crew process has said why
            if failed_starts == _MOST_FAILED_STARTS:
                raise StackFailed("the crew process can't start; its output is above")
            what = f"a crew process ended with code {code}"
            if code == RECYCLED:
                what = "a crew in a crew process does not stop, so that process has ended"
            print(f"crewrelay: {what}; starting it again", file=sys.stderr)
            await asyncio.sleep(failed_starts)

    async def _run_crew(self, environment: dict[str, str], folder: str) -> int:
        """Start a crew process and wait until it ends. Returns its exit code."""
        crew = await ChildProcess.start("crewrelay.local.crew", environment, folder)
        self._crews.append(crew)
        self._crew_is_up.set()
        hanging = asyncio.create_task(self._kill_when_silent(crew))
        try:
            return await crew.ended()
        finally:
            hanging.cancel()
            self._crews.remove(crew)
            if not self._crews:
                self._crew_is_up.clear()
            await crew.stop()

    async def _kill_when_silent(self, crew: ChildProcess) -> None:
        seconds = _SILENT_LEASES * float(os.environ["CREWRELAY_LEASE_SECONDS"])
        await crew.silent(seconds)
        print(f"crewrelay: a crew process has not answered for {seconds:.0f} s and is killed", file=sys.stderr)
        crew.kill()


def _guard(auth: bool) -> Guard:
    from crewrelay.local.authorization import guard
    from crewrelay.local.resources import load_template
    from crewrelay.settings import CallerSettings

    authorizer = importlib.import_module("authorizer.handler").handler if auth else None
    return partial(
        guard, origin=CallerSettings.read().cors_origin, authorizer=authorizer, template=load_template(TEMPLATE)
    )


def _prepare_environment(engine: Engine, auth: bool) -> None:
    """Set the variables that the template gives the functions."""
    from crewrelay.local.resources import load_template
    from crewrelay.settings import (
        ApiSettings,
        CrewsSettings,
        EmbedderSettings,
        IntakeSettings,
        LogSettings,
        ModelSettings,
        RetrievalSettings,
        WebhookSettings,
        WorkerSettings,
    )

    if not TEMPLATE.is_file():
        raise StackFailed("the local stack is made from template.yaml: run it from a checkout")
    os.environ.update(engine.variables(load_template(TEMPLATE)))
    os.environ["CREWRELAY_AUTH"] = str(auth)
    for name, value in (_OWN | _QUIET).items():
        os.environ.setdefault(name, value)
    # Crew processes run in a folder of their own.
    os.environ["CREWRELAY_COLLECTIONS"] = str(RetrievalSettings.read().collections.absolute())
    if prices := ModelSettings.read().prices:
        os.environ["CREWRELAY_MODEL_PRICES"] = str(prices.absolute())
    os.environ["CREWRELAY_CREWS"] = os.pathsep.join(str(path.absolute()) for path in CrewsSettings.read().folders)
    read = (
        ApiSettings,
        WorkerSettings,
        IntakeSettings,
        WebhookSettings,
        LogSettings,
        ModelSettings,
        EmbedderSettings,
    )
    for settings in read:
        settings.read()  # what is wrong is said here, once, and not by every process
