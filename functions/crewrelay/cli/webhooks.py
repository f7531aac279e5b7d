"""`crewrelay webhook`: a tenant's signing secret, and a test of a receiver."""

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crewrelay.cli.data import Data, database_in, folder_of
from crewrelay.cli.terminal import exit_on_error
from crewrelay.cli.tokens import Stack, tenant_name

if TYPE_CHECKING:
    from crewrelay.jobs.signing import SigningSecret, SigningSecrets

webhook_app = typer.Typer(no_args_is_help=True, help="Show and replace a tenant's signing secret, and test a receiver.")

Tenant = Annotated[str, typer.Option(help="Tenant whose webhooks it signs.", parser=tenant_name)]


@webhook_app.command()
def secret(tenant: Tenant = "local", stack: Stack = "", data: Data = None) -> None:
    """Print the secret; it is made when it is first asked for."""
    from crewrelay.jobs.signing import secret_of
    from crewrelay.system import utcnow

    with exit_on_error():
        found = secret_of(_secrets(stack, data), tenant, utcnow(), secrets.token_bytes)
    _show(found)


@webhook_app.command()
def rotate(tenant: Tenant = "local", stack: Stack = "", data: Data = None) -> None:
    """Make a new secret and print it. For a day, messages are signed with the one before as well."""
    from crewrelay.jobs.signing import rotate as rotated
    from crewrelay.system import utcnow

    with exit_on_error():
        made = rotated(_secrets(stack, data), tenant, utcnow(), secrets.token_bytes)
    _show(made)


@webhook_app.command("test")
def send_test(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the message goes.")],
    tenant: Tenant = "local",
    stack: Stack = "",
    data: Data = None,
) -> None:
    """Send a signed test message as the notifier would, from this machine, and print what came back."""
    from crewrelay.jobs.signing import secret_of, signed
    from crewrelay.local.stack import LOOPBACK
    from crewrelay.outbound.guard import Guard, networks_of
    from crewrelay.outbound.post import HttpPost
    from crewrelay.settings import WebhookSettings
    from crewrelay.system import utcnow

    now = utcnow()
    message_id = f"msg_test_{secrets.token_hex(8)}"
    body = json.dumps({"type": "job.test", "timestamp": now.isoformat(), "data": {}}, separators=(",", ":")).encode()
    with exit_on_error():
        found = secret_of(_secrets(stack, data), tenant, now, secrets.token_bytes)
        networks = WebhookSettings.read().webhook_networks or (LOOPBACK if folder_of(stack, data) else "")
    headers = {"Content-Type": "application/json", **signed(found, message_id, now, body)}
    outcome = HttpPost(Guard(networks_of(networks)), utcnow)(url, headers, body)
    typer.echo(f"{message_id}: {outcome.status or outcome.error}")
    if outcome.body:
        typer.echo("".join(one if one.isprintable() else " " for one in outcome.body.decode(errors="replace")[:500]))
    raise typer.Exit(0 if outcome.success else 1)


def _show(secret: "SigningSecret") -> None:
    typer.echo(secret.current)
    if secret.previous and secret.previous_until:
        typer.echo(f"the one before signs until {secret.previous_until:%Y-%m-%d %H:%M} UTC as well", err=True)


def _secrets(stack: str, data: Path | None) -> "SigningSecrets":
    from crewrelay.settings import StoreSettings
    from crewrelay.wiring import jobs

    if folder := folder_of(stack, data):
        database_in(folder)
        return jobs.signing_secrets(StoreSettings(data=folder))
    from crewrelay.aws import clients

    return jobs.signing_secrets(StoreSettings(table=clients.resource(stack or "crewrelay", "JobsTable")))
