"""`crewrelay login` and `logout`."""

import sys
from contextlib import closing
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

import typer

from crewrelay.cli.api import logins
from crewrelay.cli.options import AsJson
from crewrelay.cli.output.text import say, say_json
from crewrelay.cli.terminal import Exit, fail, note


def login(
    url: Annotated[str, typer.Argument(help="The API's address, like https://api.example.org/prod.")],
    as_json: AsJson = False,
) -> None:
    """Keep an API's address and token, which the other commands then use.

    The token is asked for without echo, or read from standard input. It is checked with a request, and is sent to
    this address alone. An API without tokens takes an empty one.
    """
    from crewrelay.cli.api.client import Client, NoAnswer, Refused

    where = logins.address(url)
    token = _token(where)
    if token and where.startswith("http:") and not _is_here(where):
        note("crewrelay: this address is not encrypted: others on the way can read the token")
    with closing(Client(where, token or None)) as client:
        try:
            client.check()
        except NoAnswer as lost:
            fail(str(lost), Exit.NO_ANSWER)
        except Refused as refused:
            fail(f"{refused} Nothing was kept.")
    logins.write(logins.read().with_token(where, token))
    file = str(logins.path())
    say_json({"url": where, "file": file}) if as_json else say(f"commands call {where} from now on; kept in {file}")


def logout(
    url: Annotated[str, typer.Argument(help="The API's address; default: the one of the last login.")] = "",
    as_json: AsJson = False,
) -> None:
    """Forget an API's address and token. The token stays valid: `crewrelay token revoke` ends it."""
    kept = logins.read()
    where = logins.address(url) if url else kept.url
    if where not in kept.tokens:
        fail(f"there is no login to {where or 'any API'}: known are {', '.join(kept.tokens) or 'none'}")
    logins.write(kept.without(where))
    say_json({"url": where}) if as_json else say(f"forgot {where}")


def _token(url: str) -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(f"Token for {url} (Enter if it needs none): ").strip()
    return sys.stdin.readline().strip()


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
