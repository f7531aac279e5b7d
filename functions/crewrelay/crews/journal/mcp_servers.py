"""An MCP server of an agent's `mcps`: its process, what it is called, what it is sent in secret, and why it fails."""

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import parse_qsl, urlsplit

import crewai
from crewai.mcp.exceptions import error_for_status, find_http_status, find_transport_failure
from crewai.mcp.transports.base import BaseTransport
from crewai.mcp.transports.stdio import StdioTransport

from crewrelay.crews.journal.ambient import in_a_run
from crewrelay.crews.models.failures import ToolUnavailable, causes_of, is_lost_connection, may_pass
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.redaction import SHORTEST, Redaction

logger = logging.getLogger("mcp.server")  # not ours: what a server writes may be a caller's text

_LAST_WORDS = 2_000  # bytes of what a process has written
_SECRET = re.compile(r"auth|cookie|credential|key|passw|secret|token", re.IGNORECASE)  # in the name of a value


class ServerUnavailable(ConnectionError):
    """An MCP server that does not answer, or can't at the moment."""


class StdioServer(StdioTransport):
    """A server's process, in the run's working directory. It finds our Python first, and its packages."""

    def __init__(self, command: str, args: list[str] | None = None, env: dict[str, str] | None = None) -> None:
        super().__init__(command, args, {**_surroundings(), **(env or {})})
        self._written: IO[bytes] | None = None

    async def connect(self) -> "StdioServer":
        """CrewAI prints why it fails, and what the process writes, past the log."""
        if not in_a_run():
            await super().connect()
            return self
        from mcp import StdioServerParameters
        from mcp.client.stdio import get_default_environment, stdio_client

        env = get_default_environment() | self.env
        parameters = StdioServerParameters(command=self.command, args=self.args, env=env)
        with ExitStack() as stack:
            written: Any = stack.enter_context(TemporaryFile())
            self._transport_context = stdio_client(parameters, written)
            self._set_streams(*await self._transport_context.__aenter__())
            self._written = written
            stack.pop_all()
        return self

    async def disconnect(self) -> None:
        await super().disconnect()
        if self._written:
            with self._written as written:
                written.seek(max(0, written.seek(0, os.SEEK_END) - _LAST_WORDS))
                if said := written.read().decode(errors="replace"):
                    logger.warning("%s wrote: %s", self.command, without_secrets(self, said))
            self._written = None


def _surroundings() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    packages = Path(crewai.__file__).parents[1]
    found = packages.is_relative_to(sys.prefix)  # else they are elsewhere, as on Lambda
    return {"PATH": path} if found else {"PATH": path, "PYTHONPATH": str(packages)}


def name_of(server: Any) -> str:
    """Of a process without its arguments, of an address without what may be secret."""
    if hasattr(server, "command"):
        return str(server.command)
    url = urlsplit(str(server.url))
    return f"{url.netloc.rpartition('@')[2]}{url.path}"


def address_of(server: Any) -> str:
    """What tells it from other servers."""
    address = " ".join([server.command, *server.args]) if hasattr(server, "command") else str(server.url)
    return without_secrets(server, address)


def without_secrets(server: BaseTransport, text: str) -> str:
    """Without what the server is sent in secret, should it have said that."""
    redaction = Redaction()
    for secret in _secrets(server):
        if len(secret) >= SHORTEST:
            redaction.hide(secret)
    return redaction.text(text)


def _secrets(server: BaseTransport) -> Iterator[str]:
    url = urlsplit(getattr(server, "url", ""))
    sent = {**dict(parse_qsl(url.query)), **getattr(server, "headers", {}), **getattr(server, "env", {})}
    for name, value in sent.items():
        if _SECRET.search(name):
            yield from (value, value.rpartition(" ")[2])  # also without "Bearer"
    yield url.password or ""


def failure_of(server: BaseTransport, errors: Sequence[BaseException]) -> Exception:
    """What the job or the model is told, without what the server is sent in secret."""
    reason, passes = _reason(errors)
    told = f"The MCP server {name_of(server)} {{}}: {without_secrets(server, reason)}"
    if not passes:
        return InvalidCrew(told.format("refuses"))
    unavailable = ServerUnavailable(told.format("does not answer"))
    if not isinstance(server, StdioTransport):
        return unavailable
    failed = ToolUnavailable(str(unavailable))  # no outage: it is a process of the project's own
    failed.__cause__ = unavailable
    return failed


def _reason(errors: Sequence[BaseException]) -> tuple[str, bool]:
    """And whether it may pass."""
    from mcp import McpError
    from mcp.types import CONNECTION_CLOSED

    status = find_http_status(*errors)
    if status is not None:
        return f"HTTP {status}", may_pass(error_for_status(status))
    for cause in causes_of(errors[0]):
        if isinstance(cause, McpError):
            return str(cause), cause.error.code == CONNECTION_CLOSED
        if isinstance(cause, FileNotFoundError | PermissionError):
            return f"it can't be started: {cause.strerror}", False
    error = find_transport_failure(*errors) or errors[0]
    return str(error) or type(error).__name__, any(map(is_lost_connection, errors))
