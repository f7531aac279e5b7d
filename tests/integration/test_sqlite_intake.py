"""The intake folder: every line of a file that is put there becomes a job, once, whoever dies on the way."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from crewrelay.events.batch import answer_batch
from crewrelay.events.intake import Intake
from crewrelay.jobs.policy import Policy
from crewrelay.jobs.submission import Submission
from crewrelay.local.event_sources import EventSource
from crewrelay.sqlite.intake import IntakeFolder
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
    assert [path.name.partition(".")[2] for path in intakes.folder.glob("done/*")] == ["topics.jsonl"]
    assert [*intakes.folder.glob("*.*")] == []


def test_a_line_that_is_no_job_is_put_beside_with_its_number_and_the_reason(intakes: Intakes) -> None:
    intakes.put("a.jsonl", line("one"), "{\n", b"\xff\xfe\n", line("x", crew="nobody"), line("two"))
    intakes.drain()
    assert intakes.topics() == ["one", "two"]
    rejected = [json.loads(said) for said in (intakes.folder / "a.jsonl.rejected").read_text().splitlines()]
    assert sorted(said["line"] for said in rejected) == [2, 3, 4]
    assert {said["code"] for said in rejected} == {"invalid_request"}
    reasons = {said["line"]: said["reason"] for said in rejected}
    assert "UTF-8" in reasons[3]
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


def test_what_can_not_be_stored_now_is_tried_again(intakes: Intakes, monkeypatch: pytest.MonkeyPatch) -> None:
    intakes.put("a.jsonl", line("one"), line("two"))
    queue, failing = intakes.queue(), ["one"]
    source, create = intakes.source(queue), intakes.store.create

    def unlucky(job: Any, job_input: Any) -> Any:
        if job_input.inputs["topic"] in failing:
            raise OSError("no")
        return create(job, job_input)

    monkeypatch.setattr(intakes.store, "create", unlucky)
    source.poll_once(wait=0)
    source.poll_once(wait=0)
    assert intakes.topics() == ["two"]
    failing.clear()
    source.poll_once(wait=0)
    assert intakes.topics() == ["one", "two"]


def test_a_file_that_is_being_written_and_other_files_are_left_alone(intakes: Intakes) -> None:
    intakes.put("a.jsonl", line("one"), age=0)
    intakes.put("b.txt", line("two"))
    intakes.put(".c.jsonl", line("three"))
    assert intakes.queue().receive(10) == []
    assert {path.name for path in intakes.folder.glob("*") if path.is_file()} >= {"a.jsonl", "b.txt"}


def test_records_name_their_file_and_line(intakes: Intakes) -> None:
    intakes.put("a.jsonl", line("one"))
    (record,) = intakes.queue().receive(10)
    assert record["attributes"] == {"file": "a.jsonl", "line": 1}
    assert record["messageId"].endswith(":1")
