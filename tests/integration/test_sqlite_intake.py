"""The intake folder: each line of a file is received, whatever happens to the process or the disk."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewrelay.jobs.errors import CrewrelayError, InvalidRequest, Unavailable
from crewrelay.sqlite.intake import IntakeFolder
from crewrelay.sqlite.rejected import RejectedLines

LINES = [f"line {number}" for number in range(1, 6)]
NOT_UTF_8 = b"\xff\n"


def put(folder: Path, name: str = "topics.jsonl", content: bytes | None = None) -> Path:
    """A file that is complete."""
    file = folder / name
    file.write_bytes(content or "".join(f"{line}\n" for line in LINES).encode())
    os.utime(file, (0, 0))
    return file


def bodies(queue: IntakeFolder, most: int = 10) -> list[str]:
    """Received and done."""
    records = queue.receive(most)
    queue.delete(records)
    return [record["body"] for record in records]


def taken(folder: Path) -> list[str]:
    return [path.name.partition(".")[2] for path in (folder / "taken").iterdir()]


def done(folder: Path) -> list[str]:
    return [path.name.partition(".")[2] for path in (folder / "done").iterdir()]


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[IntakeFolder]:
    folder = IntakeFolder(tmp_path)
    yield folder
    die(folder)


def die(queue: IntakeFolder) -> None:
    """Its file is no longer locked."""
    if queue._file:
        queue._file.close()


def test_each_line_is_received_once_and_then_the_file_is_done(queue: IntakeFolder, tmp_path: Path) -> None:
    put(tmp_path)
    assert bodies(queue, 3) == LINES[:3]
    assert (bodies(queue), done(tmp_path)) == (LINES[3:], [])
    assert (bodies(queue), done(tmp_path)) == ([], ["topics.jsonl"])
    assert bodies(queue) == []


def test_a_file_that_is_being_written_is_left_alone(queue: IntakeFolder, tmp_path: Path) -> None:
    file = tmp_path / "topics.jsonl"
    file.write_text("line 1\n")
    assert bodies(queue) == []
    os.utime(file, (0, 0))
    assert bodies(queue) == ["line 1"]


def test_what_is_not_deleted_comes_again_after_the_rest(queue: IntakeFolder, tmp_path: Path) -> None:
    put(tmp_path)
    first = queue.receive(1)
    assert bodies(queue) == LINES[1:]
    assert queue.receive(10) == first
    assert done(tmp_path) == []
    queue.delete(first)
    assert (bodies(queue), done(tmp_path)) == ([], ["topics.jsonl"])


def test_the_file_of_a_dead_process_is_read_from_its_start_under_the_same_ids(
    queue: IntakeFolder, tmp_path: Path
) -> None:
    put(tmp_path)
    before = queue.receive(10)
    other = IntakeFolder(tmp_path)
    assert other.receive(10) == []  # while it lives
    die(queue)
    assert other.receive(10) == before
    die(other)


def test_after_a_batch_that_failed_altogether_the_next_is_not_received_at_once(
    queue: IntakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a store that is down would be asked as fast as it can refuse."""
    monkeypatch.setattr("crewrelay.sqlite.intake._POLL", 0.2)
    put(tmp_path)
    failed = queue.receive(2, wait=1)
    begun = time.monotonic()
    queue.delete(queue.receive(2, wait=1))
    paused = time.monotonic()
    assert queue.receive(2, wait=1) != failed
    assert paused - begun >= 0.2 > time.monotonic() - paused


def test_what_can_not_be_read_stays_where_it_is_and_blocks_no_other(queue: IntakeFolder, tmp_path: Path) -> None:
    (tmp_path / "a folder.jsonl").mkdir()
    os.utime(tmp_path / "a folder.jsonl", (0, 0))
    put(tmp_path)
    assert bodies(queue) == LINES
    assert (tmp_path / "a folder.jsonl").is_dir()


def test_a_line_that_is_no_text_is_rejected_and_hurts_no_other(queue: IntakeFolder, tmp_path: Path) -> None:
    put(tmp_path, content=b"line 1\n" + NOT_UTF_8 + b"\n line 3 ")
    assert bodies(queue) == ["line 1", "line 3"]
    said = json.loads((tmp_path / "topics.jsonl.rejected").read_text())
    assert (said["line"], said["code"]) == (2, "invalid_request")


def test_a_rejection_that_can_not_be_written_loses_no_line(
    queue: IntakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, content=b"line 1\n" + NOT_UTF_8 + b"line 3\n")

    def full(self: RejectedLines, record: object, refusal: CrewrelayError) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(RejectedLines, "put", full)
        for _ in range(3):
            with pytest.raises(Unavailable):
                queue.receive(10)
    assert taken(tmp_path) == ["topics.jsonl"]
    assert bodies(queue) == ["line 1", "line 3"]
    assert (bodies(queue), done(tmp_path)) == ([], ["topics.jsonl"])


def test_a_rejection_on_a_full_disk_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="can't be written"):
        RejectedLines(Path("/dev/full")).put({"attributes": {}, "body": ""}, InvalidRequest("no"))
