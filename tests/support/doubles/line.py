"""A line to a server on this machine that can be held up, dropped and cut, on a thread of this process."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class _Call:
    """One connection through the line. Silent, it takes what it is sent, as a peer that is gone never would, but like
    one it answers nothing."""

    def __init__(self, writers: list[asyncio.StreamWriter], silent: bool) -> None:
        self.writers, self.silent = writers, silent

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if not self.silent:
                writer.write(data)
                await writer.drain()
        if not self.silent:
            writer.close()


class Line:
    def __init__(self, target: int) -> None:
        # Kept while the line is cut: what is no longer listened on may be taken by whoever connects to somewhere.
        self._claim = socket.socket()
        self._claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._claim.bind(("127.0.0.1", 0))
        self.port: int = self._claim.getsockname()[1]
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._calls: set[_Call] = set()
        self._hung = False

    def drop(self) -> None:
        """What is connected hears nothing any more; what connects from now on is served."""
        self._do(self._drop())

    def hang(self) -> None:
        """The same, and what connects from now on is accepted and not answered."""
        self._hung = True
        self.drop()

    def cut(self) -> None:
        """Every connection is closed, and the port too."""
        self._do(self._cut())

    def mend(self) -> None:
        """The port is open and served."""
        self._hung = False
        self._do(self._listen())

    async def _drop(self) -> None:
        for call in self._calls:
            call.silent = True

    async def _cut(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for call in self._calls:
            for writer in call.writers:
                writer.transport.abort()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port, reuse_port=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", self._target)
        call = _Call([writer, back], self._hung)
        self._calls.add(call)
        try:
            await asyncio.gather(call.pump(reader, back), call.pump(onward, writer))
        except OSError:
            pass  # cut
        finally:
            self._calls.discard(call)
            for end in call.writers:
                end.close()

    def _do(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(10)

    async def _end(self) -> None:
        await self._cut()
        while self._calls:
            await asyncio.sleep(0)

    def run(self) -> None:
        self._loop.run_forever()
        self._loop.close()
        self._claim.close()

    def end(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)


@contextmanager
def line(target: int) -> Iterator[Line]:
    """A line to a port of this machine, open until the block ends."""
    opened = Line(target)
    thread = threading.Thread(target=opened.run)
    thread.start()
    try:
        opened.mend()
        yield opened
    finally:
        opened.end()
        thread.join(10)
