"""The process that reads documents: what it is told, how it ends, and what it is not blamed for."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from crewrelay.retrieval.reading import process as reading
from crewrelay.retrieval.reading import reader as reader_module
from crewrelay.retrieval.reading.files import File, Unreadable
from crewrelay.retrieval.reading.limits import MB, MEMORY, SECONDS
from crewrelay.retrieval.reading.reader import Reader
from tests.support.processes import ROOT
from tests.support.stack import alive, environment
from tests.support.waiting import wait_until

CRASH = """
import os
look = os.fstat

def fstat(descriptor):
    if os.readlink(f"/proc/self/fd/{{descriptor}}").endswith("crash.txt"):
        os.kill(os.getpid(), {number})
    return look(descriptor)

os.fstat = fstat
"""


def page(folder: Path, text: str = "Text.", name: str = "page.txt") -> File:
    path = folder / name
    path.write_text(text)
    return File(path, folder)


def text_of(reader: Reader, file: File) -> str:
    (chunk,) = reader.read(file, "page.txt")
    return chunk.text


def test_a_document_is_not_blamed_for_the_death_of_a_process_that_had_read_others(
    tmp_path: Path, reader: Reader
) -> None:
    assert text_of(reader, page(tmp_path)) == "Text."
    first = reader.pid
    assert first
    os.kill(first, signal.SIGKILL)
    assert text_of(reader, page(tmp_path)) == "Text."
    assert reader.pid != first
    assert not alive(first)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGSEGV, "reading it ended with SIGSEGV"), (signal.SIGXCPU, "reading it takes more than 120 s")],
)
def test_a_document_that_kills_its_process_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, reason: str
) -> None:
    """As a fault in a library of C would, or the system."""
    (tmp_path / "sitecustomize.py").write_text(CRASH.format(number=number))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Reader() as reader:
        assert text_of(reader, page(tmp_path)) == "Text."
        with pytest.raises(Unreadable, match=reason):
            reader.read(page(tmp_path, name="crash.txt"), "page.txt")
        assert text_of(reader, page(tmp_path)) == "Text."


def test_ctrl_c_is_for_the_ingestion(tmp_path: Path, reader: Reader) -> None:
    text_of(reader, page(tmp_path))
    before = reader.pid
    assert before
    os.kill(before, signal.SIGINT)
    assert text_of(reader, page(tmp_path)) == "Text."
    assert reader.pid == before


def test_it_ends_with_the_ingestion_however_that_ends(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from crewrelay.retrieval.reading.reader import Reader;"
        "from crewrelay.retrieval.reading.files import File;"
        "reader = Reader().__enter__(); reader.read(File(Path(sys.argv[1]), Path(sys.argv[1]).parent), 'page.txt');"
        "print(reader.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(page(tmp_path).path)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as ingestion:
        assert ingestion.stdout
        child = int(ingestion.stdout.readline())
        assert alive(child)
        ingestion.kill()
    wait_until(lambda: not alive(child), within=10)


def test_its_limits_are_the_systems(tmp_path: Path, reader: Reader) -> None:
    text_of(reader, page(tmp_path))
    status = Path(f"/proc/{reader.pid}/limits").read_text().splitlines()
    soft = {line[:25].strip(): line[25:].split()[0] for line in status}
    assert soft["Max core file size"] == soft["Max file size"] == "0"
    assert SECONDS < int(soft["Max cpu time"]) < SECONDS + 60  # with what it has taken so far
    assert MEMORY < int(soft["Max address space"]) < 2 * MEMORY


def test_it_is_told_no_key_and_imports_nothing_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yaml.py").write_text("open('imported', 'w')")
    monkeypatch.chdir(tmp_path)
    for name in ("CREWRELAY_EMBEDDER_API_KEY", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-swordfish")
    with Reader() as reader:
        assert text_of(reader, page(tmp_path)) == "Text."
        assert b"swordfish" not in Path(f"/proc/{reader.pid}/environ").read_bytes()
    assert not (tmp_path / "imported").exists()


def test_a_file_that_changes_while_it_is_read_is_skipped(tmp_path: Path, reader: Reader) -> None:
    file, stopped = page(tmp_path), Event()
    os.truncate(file.path, 60 * MB)

    def write() -> None:
        with file.path.open("r+b", buffering=0) as opened:
            while not stopped.is_set():
                opened.write(b"\n")

    writer = Thread(target=write)
    writer.start()
    try:
        with pytest.raises(Unreadable, match="it changed while it was read; ingest it again"):
            reader.read(file, "page.txt")
    finally:
        stopped.set()
        writer.join()


def test_what_makes_too_much_is_skipped(tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PASSAGES", 1)
    with pytest.raises(Unreadable, match="it makes more than 1 passages; split it"):
        reading._chunks("page.md", "page.md", b"# A\n\nOne.\n\n# B\n\nTwo.\n")
    monkeypatch.setattr(reader_module, "UNPACKED", MB)
    with pytest.raises(Unreadable, match="it makes more than 1 MB of passages; split it"):
        reader.read(page(tmp_path, "One. " * 100_000), "page.txt")
    assert text_of(reader, page(tmp_path)) == "Text."


def test_nothing_is_left_open(tmp_path: Path, reader: Reader) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    files = [page(tmp_path), File(tmp_path / "pipe.txt", tmp_path), File(tmp_path, tmp_path)]

    def read_all() -> int:
        for file in files:
            with suppress(Unreadable):
                reader.read(file, "page.txt")
        return len(os.listdir("/proc/self/fd")) + len(os.listdir(f"/proc/{reader.pid}/fd"))

    assert read_all() == read_all()
