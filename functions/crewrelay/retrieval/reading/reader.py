"""Reads documents in a process of its own, which has limits of memory and time, so that none takes the ingestion along.

That bounds what a document costs. It is no jail: the process may do what its user may.
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
from crewrelay.retrieval.reading.names import name

# No key is needed to read a document.
_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_", "LD_", "DYLD_", "PYTHON", "OPENBLAS_")

_START = 120.0  # seconds; what it imports takes it one or two


class Reader:
    """A context manager. Not for several threads at once."""

    def __init__(self, memory: int = MEMORY, seconds: int = SECONDS) -> None:
        self._memory = memory
        self._seconds = seconds
        self._process: _Process | None = None

    def __enter__(self) -> Self:
        self._process = self._started()  # while it starts, there is other work to do
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.end()
            self._process = None

    @property
    def pid(self) -> int | None:
        """That of the process, if there is one."""
        return self._process.pid if self._process else None

    def read(self, file: File, source: str) -> list[Chunk]:
        """Raises Unreadable."""
        with opened(file) as descriptor:
            if self._process:
                try:
                    return self._chunks(self._process, file, source, descriptor)
                except _Died:
                    pass  # perhaps of what it had read before: this one gets a process that has read nothing
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
            raise Unreadable(name(answer["unreadable"]))
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
            # -P: the working directory may hold anybody's modules.
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
        """One line. Raises _Died, TimeoutError and Unreadable, and has then ended."""
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
        except BaseException:  # what it would still answer is not to be taken for the next one's
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
        """Of a process that has closed its end."""
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
