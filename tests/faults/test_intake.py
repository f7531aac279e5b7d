"""A file in the intake folder, whose process is killed, or whose submissions fail: each line becomes one job."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.bench import Bench, NewBench, alive, kill
from tests.faults.engines import ONLY_SQLITE
from tests.faults.injection import Fate, Write
from tests.support.waiting import wait_until

LINES = 25  # more than two batches
TOPICS = [f"line number {number}" for number in range(LINES)]
pytestmark = ONLY_SQLITE


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench()


@pytest.fixture
def folder(bench: Bench) -> Path:
    """With a file that is complete."""
    folder = Path(bench.environment["CREWRELAY_DATA"]) / "intake"
    file = folder / "topics.jsonl"
    file.write_text("".join(json.dumps({"topic": topic, "language": "en"}) + "\n" for topic in [*TOPICS, ""]))
    os.utime(file, (0, 0))
    return folder


@pytest.mark.parametrize("fate", [Fate.KILLED_BEFORE, Fate.KILLED_AFTER, Fate.REFUSED, Fate.REPLY_LOST])
@pytest.mark.parametrize("nth", [1, 14])
def test_each_line_becomes_one_job(bench: Bench, folder: Path, fate: Fate, nth: int) -> None:
    worker = bench.start("intake", fate, (Write.CREATE,), nth)
    if fate in (Fate.KILLED_BEFORE, Fate.KILLED_AFTER):
        wait_until(lambda: not alive(worker.pid), within=20)
        assert len(list((folder / "taken").iterdir())) == 1
        worker = bench.start("intake")
    wait_until(lambda: list((folder / "done").glob("*.jsonl")), within=20)
    kill(worker.pid)
    records = [bench.store.load(job_id) for job_id in bench.job_ids()]
    assert Counter(record.input.inputs["topic"] for record in records if record) == Counter(TOPICS)
    assert [dead.code for dead in bench.engine.dead_letters()] == ["invalid_request"]
    assert len(bench.engine.rows()) == 2 * LINES  # each job and its input
    assert bench.model.log() == []
