"""An MCP server of an agent's `mcps`: its process, what it is called, what it is sent in secret, and why it fails."""

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

import crewai
from crewai.mcp.exceptions import error_for_status, find_http_status, find_transport_failure
from crewai.mcp.transports.base import BaseTransport
from crewai.mcp.transports.stdio import StdioTransport
from mcp.client import stdio

from crewrelay.crews.journal.ambient import in_a_run
from crewrelay.crews.models.failures import ToolUnavailable, causes_of, is_lost_connection, may_pass
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.redaction import SHORTEST, Redaction

_start: Any = stdio._create_platform_compatible_process
logger = logging.getLogger("mcp.server")  # not ours: what a server writes may be a caller's text

_LAST_WORDS = 2_000  # characters of what a process has written
_AT_ONCE = 65_536  # bytes, as many as a pipe holds
_SECRET = re.compile(r"auth|cookie|credential|key|passw|secret|token", re.IGNORECASE)  # in the name of a value


class ServerUnavailable(ConnectionError):
    """An MCP server that does not answer, or can't at the moment."""


class StdioServer(StdioTransport):
    """A server's process, in the run's working directory. It finds our Python first, and its packages."""

    def __init__(self, command: str, args: list[str] | None = None, env: dict[str, str] | None = None) -> None:
        super().__init__(command, args, {**_surroundings(), **(env or {})})
        self._words: _LastWords | None = None

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
            words: Any = stack.enter_context(_LastWords())
            self._transport_context = stdio_client(parameters, words)
            self._set_streams(*await self._transport_context.__aenter__())
            self._words = words
            stack.pop_all()
        return self

    async def disconnect(self) -> None:
        try:
            await super().disconnect()
        finally:
            words, self._words = self._words, None
            if words:
                with words:
                    words.end_process()
                    if said := without_secrets(self, words.text())[-_LAST_WORDS:]:
                        logger.warning("%s wrote: %s", self.command, said)


class _LastWords:
    """A process's standard error, of which the end is kept: a server may write without end. Knows the process."""

    def __init__(self) -> None:
        self.process: Any = None
        self._loop = asyncio.get_running_loop()
        self._kept = b""
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._loop.add_reader(self._reading, self._read)

    def __enter__(self) -> "_LastWords":
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._reading)
        os.close(self._reading)
        os.close(self._writing)

    def fileno(self) -> int:
        """What the process writes to."""
        return self._writing

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self._kept = (self._kept + os.read(self._reading, _AT_ONCE))[-2 * _LAST_WORDS :]

    def text(self) -> str:
        """Twice as much as is shown, lest a secret begins before it."""
        self._read()
        return self._kept.decode(errors="replace")

    def end_process(self) -> None:
        """What it has started, too: the SDK ends those only if the process has to be ended itself."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


async def start(command: str, args: list[str], env: Any = None, errlog: Any = sys.stderr, cwd: Any = None) -> Any:
    """A process of the SDK's, which leads a group of its own."""
    process = await _start(command, args, env, errlog, cwd)
    if isinstance(errlog, _LastWords):
        errlog.process = process
    return process


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
    query = [(unquote_plus(name), value) for name, _, value in (part.partition("=") for part in url.query.split("&"))]
    sent = [*query, *getattr(server, "headers", {}).items(), *getattr(server, "env", {}).items()]
    found = [value for name, value in sent if _SECRET.search(name)]
    found += [url.password or url.username or ""]
    for value in found:
        yield from (value, value.rpartition(" ")[2])  # also without "Bearer"
        yield from (unquote(value), unquote_plus(value))  # as a server reads it in an address


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
