"""What the stack keeps its jobs in: a folder of this machine, or the services of AWS."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from crewrelay.jobs.errors import Misconfigured
from crewrelay.local.credentials import Credentials
from crewrelay.local.own_aws import endpoints, lead_to, start_emulator
from crewrelay.local.process import ChildProcess
from crewrelay.local.resources import Template

_FUNCTIONS = ("ApiFunction", "RunFunction", "WorkerFunction", "IntakeFunction", "SweeperFunction", "NotifierFunction")


class Watch(Protocol):
    def wait(self) -> None: ...
    def close(self) -> None: ...


class Engine(Protocol):
    """`private_home` is whether crew processes get a home directory of their own."""

    private_home: bool

    async def start(self, cleanup: AsyncExitStack, folder: str) -> ChildProcess | None:
        """Start it. Returns the process that it lives in, if it has one. Raises Misconfigured, ChildDied."""

    def variables(self, template: Template) -> dict[str, str]:
        """Create what is missing, and return the environment variables that lead the functions to it."""

    def watch(self) -> Watch | None:
        """What tells when crew processes are to be woken, if they don't wait by themselves. To be closed."""

    def describe(self) -> str:
        """Where the jobs are, for the person who started the stack."""


class OnSqlite:
    private_home = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._found = 0

    async def start(self, cleanup: AsyncExitStack, folder: str) -> ChildProcess | None:
        await asyncio.to_thread(self._open, cleanup)
        for variable, name in (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")):
            os.environ.setdefault(variable, str(Path.home() / ".aws" / name))  # for Bedrock: crews have another home
        return None

    def _open(self, cleanup: ExitStack | AsyncExitStack) -> None:
        from crewrelay.sqlite.folder import locked
        from crewrelay.wiring import on_sqlite

        cleanup.enter_context(locked(self._folder))
        database = cleanup.enter_context(closing(on_sqlite.database(self._folder)))
        database.refuse_damage(quick=True)
        self._found = on_sqlite.recover(database)

    def variables(self, template: Template) -> dict[str, str]:
        return {"CREWRELAY_DATA": str(self._folder)}

    def watch(self) -> Watch | None:
        from crewrelay.wiring import on_sqlite

        return on_sqlite.database(self._folder).watch()

    def describe(self) -> str:
        going_on = f"; {self._found} unfinished {'job goes' if self._found == 1 else 'jobs go'} on" * bool(self._found)
        return f"jobs in {self._folder}{going_on}"


class OnAws:
    """The endpoints that the environment names, else an emulator that forgets everything at its end."""

    private_home = False

    def __init__(self) -> None:
        self._credentials_file: Path | None = None  # of the stack's own AWS

    async def start(self, cleanup: AsyncExitStack, folder: str) -> ChildProcess | None:
        if endpoints():
            return None
        credentials = Credentials.new()
        emulator = await start_emulator(credentials, folder)
        cleanup.push_async_callback(emulator.stop)
        self._credentials_file = Path(folder, "aws.env")
        credentials.write(self._credentials_file, emulator.url)
        await asyncio.to_thread(lead_to, emulator.url, credentials)
        self.private_home = True
        return emulator

    def variables(self, template: Template) -> dict[str, str]:
        from crewrelay.local.resources import environment

        storage = _storage(template)
        variables = {"CREWRELAY_INTAKE_QUEUE_URL": storage["IntakeQueue"], "CREWRELAY_DATA": ""}
        for function in _FUNCTIONS:
            variables |= environment(template, function, storage)
        return variables

    def watch(self) -> Watch | None:
        return None  # they wait for SQS

    def describe(self) -> str:
        aws = f"AWS on {' and '.join(dict.fromkeys(endpoints().values()))}"
        if self._credentials_file:
            return f"its {aws}, whose credentials are in {self._credentials_file}"
        return aws


def _storage(template: dict[str, Any]) -> dict[str, str]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, WaiterError

    from crewrelay.local.resources import create_at_endpoints

    settings: Any = {"connect_timeout": 2, "read_timeout": 10, "retries": {"total_max_attempts": 2}}
    client: Callable[..., Any] = partial(boto3.client, "cloudformation", config=Config(**settings))
    try:
        return create_at_endpoints(lambda endpoint: client(endpoint_url=endpoint), template)
    except (BotoCoreError, ClientError, WaiterError, ValueError) as error:
        what = f"can't make the table, the queues and the bucket: {error}"
        if len(set(endpoints().values())) > 1:
            what += " (each AWS_ENDPOINT_URL_… must lead to an emulator with CloudFormation, such as LocalStack)"
        raise Misconfigured(what) from error
