"""`crewrelay webhook`: a tenant's signing secret, and a test of a receiver."""

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crewrelay.cli.machine.data import Data, database_in, folder_of
from crewrelay.cli.operate.tokens import Stack, tenant_name
from crewrelay.cli.options import AsJson
from crewrelay.cli.output.text import say, say_json
from crewrelay.cli.terminal import exit_on_error, note

if TYPE_CHECKING:
    from crewrelay.jobs.webhooks.signing import SigningSecret, SigningSecrets

webhook_app = typer.Typer(no_args_is_help=True, help="Show and replace a tenant's signing secret, and test a receiver.")

Tenant = Annotated[str, typer.Option(help="Tenant whose webhooks it signs.", parser=tenant_name)]


@webhook_app.command()
def secret(tenant: Tenant = "local", stack: Stack = "", data: Data = None, as_json: AsJson = False) -> None:
    """Print the secret; it is made when it is first asked for."""
    from crewrelay.jobs.webhooks.signing import secret_of
    from crewrelay.system import utcnow

    with exit_on_error():
        found = secret_of(_secrets(stack, data), tenant, utcnow(), secrets.token_bytes)
    _show(found, as_json)


@webhook_app.command()
def rotate(tenant: Tenant = "local", stack: Stack = "", data: Data = None, as_json: AsJson = False) -> None:
    """Make a new secret and print it. For a day, messages are signed with the one before as well."""
    from crewrelay.jobs.webhooks.signing import rotate as rotated
    from crewrelay.system import utcnow

    with exit_on_error():
        made = rotated(_secrets(stack, data), tenant, utcnow(), secrets.token_bytes)
    _show(made, as_json)


@webhook_app.command("test")
def send_test(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the message goes.")],
    tenant: Tenant = "local",
    stack: Stack = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Send a signed test message as the notifier would, from this machine, and print what came back."""
    from crewrelay.jobs.webhooks.signing import secret_of, signed
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
    answer = outcome.body.decode(errors="replace")[:500]
    if as_json:
        say_json({"id": message_id, "status": outcome.status, "error": outcome.error or None, "answer": answer})
    else:
        say(f"{message_id}: {outcome.status or outcome.error}")
        say("".join(one if one.isprintable() else " " for one in answer))
    raise typer.Exit(0 if outcome.success else 1)


def _show(secret: "SigningSecret", as_json: bool) -> None:
    if as_json:
        return say_json(secret.model_dump(mode="json", exclude={"revision"}))
    say(secret.current)
    if secret.previous and secret.previous_until:
        note(f"the one before signs until {secret.previous_until:%Y-%m-%d %H:%M} UTC as well")


def _secrets(stack: str, data: Path | None) -> "SigningSecrets":
    from crewrelay.settings import StoreSettings
    from crewrelay.wiring import jobs

    if folder := folder_of(stack, data):
        database_in(folder)
        return jobs.signing_secrets(StoreSettings(data=folder))
    from crewrelay.aws import clients

    return jobs.signing_secrets(StoreSettings(table=clients.resource(stack or "crewrelay", "JobsTable")))
