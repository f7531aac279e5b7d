"""What somebody may have put into a folder that is ingested, one file after another: tests/support/hostile.py has them.

`pytest -s` prints what becomes of each, in how many seconds, and the most memory that its reader has taken by then.
"""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crewrelay.retrieval.reading.files import File, Unreadable
from crewrelay.retrieval.reading.limits import MB
from crewrelay.retrieval.reading.reader import Reader
from tests.support.hostile import SECRET, Hostile, zoo
from tests.support.processes import peak_memory

ReaderWithin = Callable[[int], Reader]


@pytest.fixture(scope="module")
def within() -> Iterator[ReaderWithin]:
    """A reader that gives each document so many seconds, and 256 MB."""
    readers: dict[int, Reader] = {}
    yield lambda seconds: readers.setdefault(seconds, Reader(256 * MB, seconds))
    for reader in readers.values():
        reader.__exit__()


@pytest.fixture(scope="module")
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture(scope="module")
def files(server: socket.socket) -> dict[str, Hostile]:
    """Made once: some are large."""
    return {one.name: one for one in zoo(f"http://127.0.0.1:{server.getsockname()[1]}/")}


@pytest.mark.parametrize("name", [one.name for one in zoo("")])
def test_a_hostile_file_is_skipped_or_does_no_harm(
    tmp_path: Path, server: socket.socket, files: dict[str, Hostile], within: ReaderWithin, name: str
) -> None:
    docs = tmp_path / "docs"
    for folder in (docs, tmp_path / "outside", tmp_path / "docs-of-others"):
        folder.mkdir()
        (folder / "secret.txt").write_text(SECRET)
    hostile = files[name]
    hostile.write(docs / name)
    reader, started = within(hostile.seconds), time.monotonic()
    try:
        chunks, reason = reader.read(File(docs / name, docs), name), None
    except Unreadable as error:
        chunks, reason = [], str(error)
    taken, peak = time.monotonic() - started, f"{peak_memory(reader.pid) / MB:.0f} MB" if reader.pid else "ended"
    print(f"\n| {name} | {reason or f'{len(chunks)} passages'} | {taken:.1f} s | {peak} |", end="")
    assert (reason is None) == (hostile.reason is None), reason
    assert (hostile.reason or "") in (reason or "")
    assert not any(one in chunk.passage for chunk in chunks for one in (SECRET, "root:"))
    with pytest.raises(BlockingIOError):  # nobody has asked for its address
        server.accept()
    assert reader.read(File(docs / "secret.txt", docs), "good.txt")[0].text == SECRET  # the others go on
