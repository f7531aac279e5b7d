"""`crewrelay token`: create, list and revoke tokens."""

import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewrelay.cli.machine.data import Data, database_in, folder_of
from crewrelay.cli.options import AsJson
from crewrelay.cli.output.text import say, say_json, say_line, say_table
from crewrelay.cli.terminal import exit_on_error, note

if TYPE_CHECKING:
    from crewrelay.jobs.access import Scope, Token, Tokens

token_app = typer.Typer(no_args_is_help=True, help="Create, list and revoke tokens for callers of the API.")

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
_LONGEST = timedelta(days=3650)
_DEFAULT_SCOPES = ["run", "read"]

Stack = Annotated[
    str,
    typer.Option(
        envvar="CREWRELAY_STACK",
        help="The CloudFormation stack of the deployment; default: the jobs of `crewrelay serve` here, else crewrelay.",
    ),
]


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([dhm])", text)
    duration = int(found[1]) * _UNITS[found[2]] if found else timedelta()
    if not timedelta() < duration <= _LONGEST:
        raise typer.BadParameter("--expires: use a duration like 90d, 12h or 30m, up to 3650d")
    return duration


def _scope(name: str) -> "Scope":
    from crewrelay.jobs.access import Scope  # here and below: most commands start faster without

    try:
        return Scope(name)
    except ValueError:
        raise typer.BadParameter(f"use one of {', '.join(Scope)}") from None


def tenant_name(name: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from crewrelay.jobs.access import TenantName

    try:
        return TypeAdapter[str](TenantName).validate_python(name)
    except ValidationError:
        raise typer.BadParameter("use 1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit") from None


def _collection(name: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from crewrelay.jobs.access import CollectionName

    try:
        return TypeAdapter[str](CollectionName).validate_python(name)
    except ValidationError:
        raise typer.BadParameter("use a lower-case letter, then up to 62 of a-z, 0-9, '-' and '_'") from None


@token_app.command()
def create(
    tenant: Annotated[
        str,
        typer.Option(
            help="Tenant that the token belongs to: it submits and sees that tenant's jobs.", parser=tenant_name
        ),
    ],
    scope: Annotated[
        list[Any], typer.Option(help="What the token may do; repeatable.", metavar="SCOPE", parser=_scope)
    ] = _DEFAULT_SCOPES,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            help="Collection that its jobs may search; repeatable, the first is the default.", parser=_collection
        ),
    ] = None,
    expires: Annotated[str, typer.Option(help="Lifetime, like 90d, 12h or 30m.")] = "90d",
    stack: Stack = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it. It can't be shown again: only its SHA-256 is stored."""
    from crewrelay.jobs.access import issue
    from crewrelay.system import utcnow

    now = utcnow()
    end = now + _duration(expires)
    with exit_on_error():
        tokens = _tokens(stack, data)
        text, token = issue(tokens, tenant, frozenset(scope), now, end, secrets.token_bytes, collection or ())
    if as_json:
        return say_json({"token": text} | _described(token))
    say(text)
    granted = ", ".join([*sorted(token.scopes), *token.collections])
    note(f"token {token.id} of {tenant} ({granted}) until {token.expires_at:%Y-%m-%d %H:%M} UTC")


@token_app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only tokens of this tenant.", parser=tenant_name)] = None,
    stack: Stack = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List unexpired tokens: id, tenant, scopes, collections, expiry, and whether they are revoked."""
    with exit_on_error():
        tokens = _tokens(stack, data).of(tenant)
    if not as_json:
        return say_table(("ID", "TENANT", "SCOPES", "COLLECTIONS", "EXPIRES (UTC)", "STATE"), map(_row, tokens))
    for token in tokens:
        say_line(_described(token))


def _row(token: "Token") -> tuple[str, ...]:
    state = f"revoked {token.revoked_at:%Y-%m-%d %H:%M}" if token.revoked_at else "valid"
    scopes, collections = ",".join(sorted(token.scopes)), ",".join(token.collections) or "–"
    return token.id, token.tenant, scopes, collections, f"{token.expires_at:%Y-%m-%d %H:%M}", state


def _described(token: "Token") -> dict[str, Any]:
    known = token.model_dump(mode="json", include={"tenant", "collections", "created_at", "expires_at", "revoked_at"})
    return {"id": token.id, "scopes": sorted(token.scopes)} | known


@token_app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Token id, as `create` and `list` show it.")],
    stack: Stack = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a token. API Gateway's cache may accept it for up to a minute."""
    from crewrelay.system import utcnow

    with exit_on_error():
        token = _tokens(stack, data).revoke(token_id, utcnow())
    if as_json:
        return say_json(_described(token))
    say(f"token {token.id} of {token.tenant} is revoked; calls with it are refused within 60 s")


def _tokens(stack: str, data: Path | None) -> "Tokens":
    from crewrelay.settings import StoreSettings
    from crewrelay.wiring import jobs

    if folder := folder_of(stack, data):
        database_in(folder)
        return jobs.tokens(StoreSettings(data=folder))
    from crewrelay.aws import clients

    return jobs.tokens(StoreSettings(table=clients.resource(stack or "crewrelay", "JobsTable")))
