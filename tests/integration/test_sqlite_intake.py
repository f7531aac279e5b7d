"""The intake folder: every line of a file that is put there becomes a job, once, whoever dies on the way."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from crewrelay.events.batch import answer_batch
from crewrelay.events.intake import Intake
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.submission import Submission
from crewrelay.local.event_sources import EventSource
from crewrelay.sqlite.intake import IntakeFolder, _TakenFile
from crewrelay.sqlite.rejected import RejectedLines
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock


class Intakes:
    """What takes the folder's lines, as in a crew process; several may share the jobs."""

    def __init__(self, folder: Path, clock: HandSetClock) -> None:
        self.folder = folder
        self.queues: list[IntakeFolder] = []
        self.store, self.doorbell = MemoryJobStore(clock), MemoryDoorbell()
        submission = Submission(self.store, self.doorbell, clock, lambda: str(uuid4()), Policy())
        self._intake = Intake(submission, "acme", RejectedLines(folder))

    def source(self, queue: IntakeFolder | None = None) -> EventSource:
        def handler(event: dict[str, Any], _: Any) -> Any:
            return answer_batch(event, self._intake.take)

        return EventSource(queue or self.queue(), handler, name="intake", concurrency=0, timeout=60)

    def queue(self) -> IntakeFolder:
        self.queues.append(IntakeFolder(self.folder))
        return self.queues[-1]

    def drain(self) -> None:
        source = self.source()
        while source.poll_once(wait=0) or [*self.folder.glob("taken/*")]:
            pass

    def topics(self) -> list[str]:
        """Of the jobs, each of which was rung for at least once."""
        records = [self.store.load(job_id) for job_id in set(self.doorbell.rings)]
        return sorted(str(record.input.inputs["topic"]) for record in records if record)

    def rejected(self) -> list[dict[str, Any]]:
        found = [path.read_text().splitlines() for path in self.folder.glob("done/*.rejected")]
        return [json.loads(said) for lines in found for said in lines]

    def done(self) -> list[str]:
        """The names of the files that are done, as they were put."""
        return sorted(path.name.partition(".")[2] for path in self.folder.glob("done/*.jsonl"))

    def put(self, name: str, *lines: str | bytes, age: float = 10) -> None:
        path = self.folder / name
        path.write_bytes(b"".join(line.encode() if isinstance(line, str) else line for line in lines))
        os.utime(path, (time.time() - age,) * 2)


@pytest.fixture
def intakes(tmp_path: Path, clock: HandSetClock) -> Iterator[Intakes]:
    (tmp_path / "intake").mkdir()
    made = Intakes(tmp_path / "intake", clock)
    yield made
    for queue in made.queues:
        queue.close()


def line(topic: object, **more: str) -> str:
    return json.dumps({"topic": topic, "language": "en", **more}, ensure_ascii=False) + "\n"


def test_every_line_is_a_job_and_the_file_is_done(intakes: Intakes) -> None:
    intakes.put("topics.jsonl", *(line(f"topic {number:02}") for number in range(25)), "\n", line("Grüße").strip())
    intakes.drain()
    assert intakes.topics() == ["Grüße", *(f"topic {number:02}" for number in range(25))]
    assert intakes.done() == ["topics.jsonl"]
    assert [*intakes.folder.glob("*.*")] == []


def test_a_line_that_is_no_job_is_put_beside_with_its_number_and_the_reason(intakes: Intakes) -> None:
    intakes.put("a.jsonl", line("one"), "{\n", b"\xff\xfe\n", line("x", crew="nobody"), line("two"))
    intakes.drain()
    assert intakes.topics() == ["one", "two"]
    (told,) = intakes.folder.glob("done/*.a.jsonl.rejected")
    rejected = [json.loads(said) for said in told.read_text().splitlines()]
    assert sorted(said["line"] for said in rejected) == [2, 3, 4]
    assert {said["code"] for said in rejected} == {"invalid_request"}
    reasons = {said["line"]: said["reason"] for said in rejected}
    assert "unicode" in reasons[3]
    assert "nobody" in reasons[4] or "crew" in reasons[4]


def test_a_process_that_dies_leaves_its_file_to_the_next_and_no_line_becomes_two_jobs(intakes: Intakes) -> None:
    intakes.put("a.jsonl", *(line(f"topic {number:02}") for number in range(25)))
    dying = intakes.queue()
    intakes.source(dying).poll_once(wait=0)
    assert len(intakes.topics()) == 10
    assert intakes.queue().receive(10) == []  # it is locked
    dying.close()  # as the end of its process does
    intakes.drain()
    assert intakes.topics() == [f"topic {number:02}" for number in range(25)]
    assert len(set(intakes.doorbell.rings)) == 25


def test_the_same_file_put_again_makes_new_jobs(intakes: Intakes) -> None:
    for _ in range(2):
        intakes.put("a.jsonl", line("one"))
        intakes.drain()
    assert intakes.topics() == ["one", "one"]


def test_what_can_not_be_stored_now_is_tried_again_and_nothing_after_it_is_read(
    intakes: Intakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    intakes.put("a.jsonl", *(line(f"topic {number:02}") for number in range(25)))
    queue, failing = intakes.queue(), ["topic 05"]
    source, create = intakes.source(queue), intakes.store.create

    def unlucky(job: Any, job_input: Any, *more: Any) -> Any:
        if job_input.inputs["topic"] in failing:
            raise OSError("no")
        return create(job, job_input, *more)

    monkeypatch.setattr(intakes.store, "create", unlucky)
    for _ in range(5):
        source.poll_once(wait=0)
    assert intakes.topics() == [f"topic {number:02}" for number in range(10) if number != 5]
    failing.clear()
    while not intakes.done():
        source.poll_once(wait=0)
    assert intakes.topics() == [f"topic {number:02}" for number in range(25)]


def test_a_rejected_line_that_can_not_be_written_is_not_passed_over(
    intakes: Intakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    intakes.put("a.jsonl", b"\xff\n", line("one"))
    source = intakes.source()
    with monkeypatch.context() as full:
        full.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        source.poll_once(wait=0)
        source.poll_once(wait=0)
    assert intakes.done() == []
    while not intakes.done():
        source.poll_once(wait=0)
    assert intakes.topics() == ["one"]
    assert len([*intakes.folder.glob("done/*.rejected")]) == 1


def test_many_processes_take_each_file_once(intakes: Intakes) -> None:
    for number in range(200):
        intakes.put(f"{number}.jsonl", line(f"topic {number}"))

    def work() -> None:
        source = intakes.source()
        while len(intakes.done()) < 200:
            source.poll_once(wait=0)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(intakes.done()) == len(intakes.topics()) == 200


def test_a_file_that_was_finished_while_another_process_waited_for_it_is_left(intakes: Intakes) -> None:
    intakes.put("a.jsonl", line("one"))
    first = intakes.queue()
    intakes.source(first).poll_once(wait=0)
    (path,) = intakes.folder.glob("taken/*")
    stale = path.open("rb")  # what the other has opened
    path.rename(intakes.folder / "done" / path.name)
    first.close()
    with stale, pytest.raises(FileNotFoundError):
        _TakenFile.locked(path)
    assert intakes.queue().receive(10) == []


def test_what_is_no_file_is_passed_over(intakes: Intakes, caplog: pytest.LogCaptureFixture) -> None:
    (intakes.folder / "a.jsonl").mkdir()
    os.mkfifo(intakes.folder / "b.jsonl")
    (intakes.folder / "c.jsonl").symlink_to("nowhere")
    intakes.put(f"{'d' * 230}.jsonl", line("long"))
    intakes.put("e.jsonl", line("one"))
    for _ in range(3):
        intakes.drain()
    assert intakes.topics() == ["one"]
    assert intakes.done() == ["e.jsonl"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_what_their_writer_calls_lines(intakes: Intakes, end: str) -> None:
    long = '{"topic":"A","language":"en"}' + " " * 2_100_000 + '{"topic":"B","language":"en"}'
    intakes.put("a.jsonl", "\ufeff", line("one").strip(), end, long, end, line("two").strip())
    intakes.drain()
    assert intakes.topics() in (["A", "one", "two"], ["one", "two"])
    assert {record["line"] for record in intakes.rejected()} <= {2}


def test_a_writer_that_pauses_loses_nothing(intakes: Intakes) -> None:
    intakes.put("a.jsonl", line("one"), '{"topic": "tw')
    queue = intakes.queue()
    source = intakes.source(queue)
    source.poll_once(wait=0)
    (path,) = intakes.folder.glob("taken/*")
    with path.open("a") as file:
        file.write('o", "language": "en"}\n' + line("three"))
    source.poll_once(wait=0)
    os.utime(path, (time.time() - 10,) * 2)
    while not intakes.done():
        source.poll_once(wait=0)
    assert intakes.topics() == ["one", "three", "two"] or intakes.topics() == ["one", "three"]


def test_a_file_that_is_being_written_and_other_files_are_left_alone(intakes: Intakes) -> None:
    intakes.put("a.jsonl", line("one"), age=0)
    intakes.put("b.txt", line("two"))
    intakes.put(".c.jsonl", line("three"))
    assert intakes.queue().receive(10) == []
    assert {path.name for path in intakes.folder.glob("*") if path.is_file()} >= {"a.jsonl", "b.txt"}


def test_records_name_their_file_and_line(intakes: Intakes) -> None:
    intakes.put("a.jsonl", line("one"))
    (record,) = intakes.queue().receive(10)
    assert record["attributes"]["file"].endswith(".a.jsonl")
    assert record["messageId"] == f"{record['attributes']['file'].partition('.')[0]}:1"
