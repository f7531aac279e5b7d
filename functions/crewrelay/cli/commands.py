"""The commands of `crewrelay`."""

from typing import Annotated

import typer

from crewrelay import __version__
from crewrelay.cli.api import login
from crewrelay.cli.batch import command as batch
from crewrelay.cli.crews.commands import crews_app
from crewrelay.cli.documents import commands as documents
from crewrelay.cli.jobs import change, run, show
from crewrelay.cli.machine import data, serve
from crewrelay.cli.operate import doctor, redrive
from crewrelay.cli.operate.tokens import token_app
from crewrelay.cli.operate.webhooks import webhook_app

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_PANELS = {
    "Jobs": (
        run.run,
        run.submit,
        run.watch,
        batch.batch,
        show.jobs,
        show.status,
        show.events,
        show.timeline,
        show.open_,
        change.answer,
        change.cancel,
        change.retry,
        change.delete,
    ),
    "A deployment": (login.login, login.logout, doctor.doctor, redrive.redrive),
    "This machine": (serve.serve, data.backup, data.restore),
    "Documents and crews": (documents.ingest, documents.search),
}
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(command.__name__.rstrip("_"), rich_help_panel=panel)(command)
app.add_typer(documents.collections_app, name="collections", rich_help_panel="Documents and crews")
app.add_typer(crews_app, name="crews", rich_help_panel="Documents and crews")
app.add_typer(token_app, name="token", rich_help_panel="A deployment")
app.add_typer(webhook_app, name="webhook", rich_help_panel="A deployment")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crewrelay {__version__}")
        raise typer.Exit


@app.callback()
def crewrelay(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Durable CrewAI crews, on AWS Lambda or on this machine."""
