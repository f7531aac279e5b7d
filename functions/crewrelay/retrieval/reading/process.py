"""The process that parses documents; no other process looks at a file's content.

`reader.py` starts it, passes it open files one by one, and replaces it when a file exceeds its limits.
"""

import json
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import astuple

from crewrelay.retrieval.chunks import Chunk, chunks_of
from crewrelay.retrieval.reading.files import Unreadable
from crewrelay.retrieval.reading.limits import FILE, MB, OUT_OF_MEMORY, PASSAGES
from crewrelay.retrieval.reading.pages import read_page


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    ours, memory, seconds = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    if used := _address_space():
        _limit(resource.RLIMIT_AS, used + memory)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)  # it writes no files
    try:
        ours.sendall(b"\n")  # it is ready
        while request := _request(ours):
            name, source, descriptor = request
            _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + seconds)
            ours.sendall(json.dumps(_answer(name, source, descriptor), ensure_ascii=False).encode() + b"\n")
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _address_space() -> int:
    """This process's current address space; 0 on systems without /proc, which do not enforce the limit either."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


def _request(ours: socket.socket) -> tuple[str, str, int] | None:
    """File name, source and descriptor of the next request; None at the end of the ingestion."""
    received, descriptors = b"", list[int]()
    while not received.endswith(b"\n"):
        part, with_it, _, _ = socket.recv_fds(ours, 1 << 16, 1)
        if not part:
            return None
        received += part
        descriptors += with_it
    name, source = json.loads(received)
    return name, source, descriptors[0]


def _answer(name: str, source: str, descriptor: int) -> dict[str, object]:
    try:
        chunks = _chunks(name, source, _content(descriptor))
    except Unreadable as error:
        return {"unreadable": str(error)}
    return {"chunks": [astuple(chunk) for chunk in chunks]}


def _content(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        file.seek(0)  # an earlier process may have read part of it
        before = os.fstat(descriptor)
        if before.st_size > FILE:
            raise Unreadable(f"it is larger than {FILE // MB} MB")
        data = file.read(before.st_size + 1)
        after = os.fstat(descriptor)
    if len(data) != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Unreadable("it changed while it was read; ingest it again")
    return data


def _chunks(name: str, source: str, data: bytes) -> list[Chunk]:
    chunks = chunks_of(source, read_page(name, data, source))
    if len(chunks) > PASSAGES:
        raise Unreadable(f"it makes more than {PASSAGES:,} passages; split it")
    return chunks


if __name__ == "__main__":
    main()
