"""Child processes of the stack: starting, waiting until they listen, stopping with all their children."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process

_TIMEOUT = 5.0  # seconds between SIGTERM and SIGKILL
_POLL = 0.25  # seconds between checks whether it has ended


class ChildProcess:
    def __init__(self, process: Process, port: int) -> None:
        self._process = process
        self.port = port

    @classmethod
    async def start(cls, module: str, environment: dict[str, str], folder: str, *arguments: str) -> "ChildProcess":
        """Start `python -m module …` in a folder with only these variables, and wait until it listens. What it prints
        is passed on.

        Raises ChildDied if it ends before that.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=PIPE,  # held open: it closes when we die, and the child exits
            stdout=PIPE,
            env=environment,
            cwd=folder,
            umask=0o077,  # its files are private to this user
            start_new_session=True,  # Ctrl-C reaches us only, and we stop our children in order
        )
        assert process.stdout is not None
        child = cls(process, 0)
        try:
            async for line in process.stdout:
                if line.startswith(b"ready "):
                    child.port = int(line.split()[1])
                    return child
                _pass_on(line)
            raise ChildDied(module, await child._exit_code())
        except asyncio.CancelledError:
            await child.stop()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ended(self) -> int:
        """Wait until it ends, passing on its output. Returns its exit code."""
        passed_on = asyncio.create_task(self._pass_all_on())
        code = await self._exit_code()
        self._kill_group()  # they may hold the output open
        await asyncio.wait([passed_on], timeout=_TIMEOUT)
        return code

    async def _pass_all_on(self) -> None:
        assert self._process.stdout is not None
        while said := await self._process.stdout.read(65536):
            _pass_on(said)

    async def _exit_code(self) -> int:
        """Polls, because `wait` in some Python versions also waits for other processes that hold its output."""
        while self._process.returncode is None:
            await asyncio.sleep(_POLL)
        return self._process.returncode

    def _kill_group(self) -> None:
        """Kill what it has left running, such as processes started by a tool."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def silent(self, seconds: float) -> None:
        """Return once a request to it gets no response for `seconds`. Any response counts."""
        while True:
            try:
                async with asyncio.timeout(seconds):
                    await self._ask()
            except TimeoutError:
                return
            except OSError:  # it is ending, which `ended` reports
                pass
            await asyncio.sleep(seconds / 10)

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            await reader.read(1)
        finally:
            writer.close()

    def wake(self) -> None:
        """Write to it, unless it has stopped reading."""
        stdin = self._process.stdin
        if stdin and not stdin.is_closing() and stdin.transport.get_write_buffer_size() == 0:
            stdin.write(b"\n")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._exit_code(), _TIMEOUT)
        except TimeoutError:
            self._process.kill()
            await self._exit_code()
        self._kill_group()


def _pass_on(said: bytes) -> None:
    sys.stderr.buffer.write(said)
    sys.stderr.flush()


class ChildDied(Exception):
    def __init__(self, module: str, code: int) -> None:
        super().__init__(f"{module.rpartition('.')[2]} process ended with code {code}")
        self.code = code
