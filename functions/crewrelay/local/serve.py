"""`crewrelay serve`: the gateway in this process, everything else in child processes."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator

import uvicorn

from crewrelay.local.connections import bounded
from crewrelay.local.engines import Engine
from crewrelay.local.gateway import Gateway
from crewrelay.local.loopback import is_loopback
from crewrelay.local.stack import Stack


class OpenToOthers(Exception):
    """The address can be reached from other machines."""


def listen(host: str, port: int, only_from_here: bool = True) -> socket.socket:
    """Take the port before anything is started. Raises OSError if it is in use, and OpenToOthers if other machines
    could connect but must not.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # IPPROTO_TCP is named, or asyncio leaves Nagle's algorithm on: 40 ms per answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        if only_from_here and not is_loopback(listener.getsockname()[0]):
            raise OpenToOthers
        listener.listen(2048)  # now, and not when the server starts: until then two may hold one port
    except (OSError, OpenToOthers):
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """Handles signals itself: uvicorn would raise them again, and the process would end before its children."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        """Stop in order. A second signal ends the process at once, and its children with it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, os._exit, 128 + number)
        self.should_exit = True


async def serve(
    listener: socket.socket, host: str, gateway_limit: float, engine: Engine, crews: int, auth: bool
) -> None:
    """Serve until SIGINT or SIGTERM with that many crew processes. With `auth`, callers need a token. On loopback, only
    requests to its names or to `host` are answered.

    Raises StackFailed.
    """
    stack = Stack(engine, crews, auth)
    gateway = Gateway(stack, gateway_limit, host if is_loopback(listener.getsockname()[0]) else None)
    server = _Server(bounded(gateway, timeout_graceful_shutdown=2))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    running = asyncio.create_task(stack.run())
    announcing = asyncio.create_task(_announce(stack, engine, listener, auth))
    await asyncio.wait({serving, running}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    for task in (announcing, running):
        task.cancel()
    await asyncio.wait({serving, running, announcing})
    serving.result()
    if not running.cancelled():
        running.result()


async def _announce(stack: Stack, engine: Engine, listener: socket.socket, auth: bool) -> None:
    await stack.ready()
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"crewrelay is ready on {url} with {engine.describe()} (Ctrl-C stops it)", flush=True)
    if auth:
        print(await asyncio.to_thread(_first_token), flush=True)


def _first_token() -> str:
    from crewrelay.local.first_token import first_token
    from crewrelay.settings import JobSettings
    from crewrelay.wiring import jobs

    settings = JobSettings.read()
    return first_token(jobs.tokens(settings), settings.tenant)
