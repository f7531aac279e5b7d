"""The stack: emulator, resources, API app, and a crew process that is started again whenever it dies."""

import asyncio
import contextlib
import importlib
import os
import sys
import tempfile
from pathlib import Path

from starlette.types import ASGIApp

from crewrelay.jobs.errors import Misconfigured
from crewrelay.local.child import MISCONFIGURED
from crewrelay.local.process import ChildDied, ChildProcess

TEMPLATE = Path(__file__).parents[3] / "template.yaml"

# Short, so that the jobs of a killed crew process go on within seconds.
_SHORT_LEASE = "15"

_MOST_FAILED_STARTS = 3  # in a row

CREW_ENVIRONMENT = {
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "HAYSTACK_TELEMETRY_ENABLED": "false",
    "OPENBLAS_NUM_THREADS": "1",
}

_EMULATOR_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class StackFailed(Exception):
    """The stack can't go on; the message is for the person who started it."""


class Stack:
    def __init__(self) -> None:
        self.api: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
        self._crew: ChildProcess | None = None
        self._crew_is_up = asyncio.Event()

    async def run(self) -> None:
        """Start everything, then keep it running. Never returns; raises StackFailed."""
        async with contextlib.AsyncExitStack() as cleanup:
            folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="crewrelay-"))
            emulator = None
            if "AWS_ENDPOINT_URL" not in os.environ:
                emulator = await ChildProcess.start("crewrelay.local.emulator", {}, folder)
                cleanup.push_async_callback(emulator.stop)
                os.environ.update(_EMULATOR_ENVIRONMENT, AWS_ENDPOINT_URL=emulator.url)
            await asyncio.to_thread(_prepare_environment)
            try:
                async with asyncio.TaskGroup() as tasks:
                    # The crew process takes seconds to start: it does so while the API is imported.
                    tasks.create_task(self._keep_crew_running(folder))
                    tasks.create_task(self._load_api())
                    if emulator is not None:
                        tasks.create_task(self._watch(emulator))
            except* (StackFailed, Misconfigured) as failures:
                raise failures.exceptions[0] from None

    async def crew_url(self) -> str:
        """Where the crew process listens, once it does."""
        await self._crew_is_up.wait()
        assert self._crew is not None
        return self._crew.url

    async def ready(self) -> None:
        await asyncio.shield(self.api)
        await self._crew_is_up.wait()

    async def _load_api(self) -> None:
        module = await asyncio.to_thread(importlib.import_module, "api.handler")
        self.api.set_result(module.app)

    async def _watch(self, emulator: ChildProcess) -> None:
        code = await emulator.ended()
        raise StackFailed(f"the AWS emulator ended with code {code}; its memory was the table, so all jobs are lost")

    async def _keep_crew_running(self, folder: str) -> None:
        environment = CREW_ENVIRONMENT | {"CREWAI_STORAGE_DIR": f"{folder}/crewai"}
        failed_starts = 0
        while True:
            try:
                self._crew = await ChildProcess.start("crewrelay.local.crew", environment, folder)
                failed_starts = 0
                self._crew_is_up.set()
                try:
                    code = await self._crew.ended()
                finally:
                    self._crew_is_up.clear()
                    await self._crew.stop()
            except ChildDied as died:
                code, failed_starts = died.code, failed_starts + 1
            if code == MISCONFIGURED:
                raise StackFailed("")  # the crew process has said why
            if failed_starts == _MOST_FAILED_STARTS:
                raise StackFailed("the crew process can't start; what it said stands above")
            print(f"crewrelay: the crew process ended with code {code}; starting it again", file=sys.stderr)
            await asyncio.sleep(failed_starts)


def _prepare_environment() -> None:
    """Make the resources, and set the variables that the template gives the functions."""
    import boto3

    from crewrelay.local.resources import create_storage, environment, load_template
    from crewrelay.settings import IntakeSettings, ModelSettings, RunSettings

    template = load_template(TEMPLATE)
    storage = create_storage(boto3.client("cloudformation"), template)
    for function in ("ApiFunction", "RunFunction", "WorkerFunction", "IntakeFunction"):
        os.environ.update(environment(template, function, storage))
    os.environ["CREWRELAY_INTAKE_QUEUE_URL"] = storage["IntakeQueue"]
    os.environ.setdefault("CREWRELAY_LEASE_SECONDS", _SHORT_LEASE)
    for settings in (RunSettings, IntakeSettings, ModelSettings):
        settings.read()  # what is wrong is said here, once, and not by every process
