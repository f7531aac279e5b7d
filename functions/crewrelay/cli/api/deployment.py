"""Which API a command calls, and with which token: an option goes before a variable, a variable before a login."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from crewrelay.cli.api import logins
from crewrelay.cli.api.client import Client, NoAnswer, Refused
from crewrelay.cli.terminal import Exit, exit_on_error, fail, note

HERE = "http://127.0.0.1:8000"  # where `make serve` listens


class Endpoint(NamedTuple):
    url: str
    token: str


@contextmanager
def deployment(url: str, stack: str, token: str) -> Iterator[Client]:
    """Its client; a refusal ends the command."""
    with exit_on_error():
        chosen = endpoint(url, stack, token)
        try:
            with closing(Client(chosen.url, chosen.token or None)) as client:
                yield client
        except NoAnswer as lost:
            fail(str(lost), Exit.NO_ANSWER)
        except Refused as refused:
            fail(str(refused))


def endpoint(url: str, stack: str, token: str) -> Endpoint:
    """Typer has filled in variables where there were no options."""
    own_url, own_stack = os.environ.get("CREWRELAY_URL", ""), os.environ.get("CREWRELAY_STACK", "")
    if stack != own_stack and url == own_url:
        url = ""  # the option --stack goes before the variable CREWRELAY_URL
    as_variables_say = url == own_url if url or not stack else stack == own_stack
    kept = logins.read()
    if stack and not url:
        from crewrelay.aws import clients

        url = clients.output(stack, "ApiUrl")
    url = logins.address(url or kept.url or HERE)
    if token and token == os.environ.get("CREWRELAY_TOKEN") and (own_url or own_stack) and not as_variables_say:
        note(f"crewrelay: CREWRELAY_TOKEN is for {own_url or own_stack}, and is not sent to {url}")
        token = ""
    return Endpoint(url, token or kept.tokens.get(url, ""))
