"""What the `crewrelay` command can do with tokens: who may call a deployment."""

import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from crewrelay.cli.terminal import exit_on_error
from crewrelay.jobs.access import Scope, TenantName, issue

if TYPE_CHECKING:
    from crewrelay.aws.tokens import DynamoTokens

token_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the tokens of those who may call.")

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
_LONGEST = timedelta(days=3650)
_USUAL = [Scope.RUN, Scope.READ]

Stack = Annotated[str, typer.Option(envvar="CREWRELAY_STACK", help="The CloudFormation stack that the tokens are for.")]


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([dhm])", text)
    duration = int(found[1]) * _UNITS[found[2]] if found else timedelta()
    if not timedelta() < duration <= _LONGEST:
        raise typer.BadParameter("--expires: say it like 90d, 12h or 30m, up to 3650d")
    return duration


def _tenant(name: str) -> str:
    try:
        return TypeAdapter[str](TenantName).validate_python(name)
    except ValidationError:
        raise typer.BadParameter("1 to 63 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit") from None


@token_app.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whose jobs its bearer starts and sees.", parser=_tenant)],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; repeat it for more.")] = _USUAL,
    expires: Annotated[str, typer.Option(help="For how long: 90d, 12h, 30m.")] = "90d",
    stack: Stack = "crewrelay",
) -> None:
    """Make a token and print it, once: only its SHA-256 is kept."""
    from crewrelay.system import utcnow

    now = utcnow()
    end = now + _duration(expires)
    with exit_on_error():
        text, token = issue(_tokens(stack), tenant, frozenset(scope), now, end, secrets.token_bytes)
    typer.echo(text)
    scopes = ", ".join(sorted(token.scopes))
    typer.echo(f"token {token.id} of {tenant} ({scopes}) until {token.expires_at:%Y-%m-%d %H:%M} UTC", err=True)


@token_app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.", parser=_tenant)] = None,
    stack: Stack = "crewrelay",
) -> None:
    """The tokens that have not expired: id, tenant, scopes, expiry, and whether they are revoked."""
    with exit_on_error():
        tokens = _tokens(stack).of(tenant)
    for token in tokens:
        state = f"revoked {token.revoked_at:%Y-%m-%d %H:%M}" if token.revoked_at else "valid"
        scopes = ",".join(sorted(token.scopes))
        typer.echo(f"{token.id}  {token.tenant}  {scopes}  until {token.expires_at:%Y-%m-%d %H:%M}  {state}")


@token_app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `create` and `list` show it.")],
    stack: Stack = "crewrelay",
) -> None:
    """Let nobody in with a token any more; the gateway forgets within a minute that it once did."""
    from crewrelay.system import utcnow

    with exit_on_error():
        token = _tokens(stack).revoke(token_id, utcnow())
    typer.echo(f"token {token.id} of {token.tenant} is revoked; calls with it are refused within 60 s")


def _tokens(stack: str) -> "DynamoTokens":
    from crewrelay.aws import clients
    from crewrelay.aws.tokens import DynamoTokens
    from crewrelay.system import utcnow

    return DynamoTokens(clients.dynamodb(), clients.resource(stack, "JobsTable"), utcnow)
