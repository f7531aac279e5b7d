"""Reads documents in a separate process with limits on memory and time, so that no document can stop the ingestion.

This limits resources. It is no sandbox: the process has its user's permissions.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Self

from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.reading.files import File, Unreadable, opened
from crewrelay.retrieval.reading.limits import MB, MEMORY, OUT_OF_MEMORY, SECONDS, UNPACKED
from crewrelay.retrieval.reading.names import title

# Environment variables that the process inherits: no API keys.
_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_", "LD_", "DYLD_", "PYTHON", "OPENBLAS_")

_START = 120.0  # seconds; its imports take one or two


class Reader:
    """A context manager. Not thread-safe."""

    def __init__(self, memory: int = MEMORY, seconds: int = SECONDS) -> None:
        self._memory = memory
        self._seconds = seconds
        self._process: _Process | None = None

    def __enter__(self) -> Self:
        self._process = self._started()  # starts in the background
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.end()
            self._process = None

    @property
    def pid(self) -> int | None:
        """The pid of the reading process, None if there is none."""
        return self._process.pid if self._process else None

    def read(self, file: File, source: str) -> list[Chunk]:
        """The chunks of a file. Raises Unreadable."""
        with opened(file) as descriptor:
            if self._process:
                try:
                    return self._chunks(self._process, file, source, descriptor)
                except _Died:
                    pass  # an earlier document may be the cause: retry in a fresh process
            try:
                return self._chunks(self._started(), file, source, descriptor)
            except _Died as died:
                raise Unreadable(self._why(died.code)) from None

    def _started(self) -> "_Process":
        return _Process(self._memory, self._seconds)

    def _chunks(self, process: "_Process", file: File, source: str, descriptor: int) -> list[Chunk]:
        self._process = None
        try:
            answer = json.loads(process.answer([file.path.name, source], descriptor, timeout=2 * self._seconds))
        except TimeoutError:
            raise Unreadable(f"reading it takes more than {self._seconds} s") from None
        self._process = process
        if "unreadable" in answer:
            raise Unreadable(title(answer["unreadable"]))
        return [Chunk(*map(str, parts)) for parts in answer["chunks"]]

    def _why(self, code: int) -> str:
        if code == OUT_OF_MEMORY:
            return f"reading it takes more than {self._memory // MB:,} MB of memory"
        return f"reading it ended with {signal.Signals(-code).name if code < 0 else f'code {code}'}"


class _Died(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class _Process:
    def __init__(self, memory: int, seconds: int) -> None:
        self._ready = False
        self._line, theirs = socket.socketpair()
        with theirs:
            # -P: import no modules from the working directory.
            command = [sys.executable, "-P", "-W", "ignore", "-m", "crewrelay.retrieval.reading.process"]
            self._child = subprocess.Popen(
                [*command, str(theirs.fileno()), str(memory), str(seconds)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={name: value for name, value in os.environ.items() if name.startswith(_INHERITED)},
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def answer(self, request: list[str], descriptor: int, timeout: float) -> bytearray:
        """The response line. Raises _Died, TimeoutError or Unreadable, after which the process has ended."""
        try:
            if not self._ready:
                self._received(time.monotonic() + _START)
                self._ready = True
            self._line.settimeout(timeout)
            socket.send_fds(self._line, [json.dumps(request).encode() + b"\n"], [descriptor])
            return self._received(time.monotonic() + timeout)
        except ConnectionError:
            code = self._code()
            raise (TimeoutError if code == -signal.SIGXCPU else _Died(code)) from None
        except BaseException:  # else a late answer could be taken for the next file's
            self.end()
            raise

    def _received(self, deadline: float) -> bytearray:
        received = bytearray()
        while not received.endswith(b"\n"):
            self._line.settimeout(max(deadline - time.monotonic(), 0.001))
            part = self._line.recv(1 << 20)
            if not part:
                raise ConnectionResetError
            received += part
            if len(received) > UNPACKED:
                raise Unreadable(f"it makes more than {UNPACKED // MB} MB of passages; split it")
        return received

    def _code(self) -> int:
        """The exit code, after the process has closed its socket."""
        try:
            return self._child.wait(5)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self.end()

    def end(self) -> None:
        self._line.close()
        self._child.kill()
        self._child.wait()
