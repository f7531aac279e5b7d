"""The jobs that the tests and pictures of the page show."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from crewrelay.jobs.ports import Calls, RelayDue
from crewrelay.jobs.records.answer import Answer, File, Source
from crewrelay.jobs.records.job import Failure
from crewrelay.jobs.records.questions import Question
from tests.browser.past_jobs import FailedAs, PastJobs
from tests.support.stack import RunningStack

TOPIC = "How does write-ahead logging survive a crash?"
TEXT = """\
Write-ahead logging makes a change durable **before** the database file is touched [1]. After a crash the log is read \
from its last checkpoint, and what was committed is applied again [2].

## What is written when

| step | where | when |
|:--|:--|--:|
| the change | log | at once |
| the commit record | log, flushed | before the answer |
| the page | database file | at a checkpoint |

1. A reader sees the file *and* the part of the log that was there when it began [1].
2. A checkpoint copies pages back, and only then may the log start anew [3].

> A commit is durable once its record is on disk: nothing else has to be.

The setting is `PRAGMA journal_mode=WAL`; see [the manual](https://sqlite.org/wal.html).
"""
_PASSAGE = (
    "The original content is preserved in the database file and the changes are appended into a separate WAL file. "
    "A COMMIT occurs when a special record indicating a commit is appended to the WAL. Thus a COMMIT can happen "
    "without ever writing to the original database."
)


def _source(number: int, title: str, url: str) -> Source:
    excerpt = "A COMMIT occurs when a special record indicating a commit is appended to the WAL."
    return Source(number=number, id=f"wal#{number}", title=title, url=url, text=_PASSAGE, excerpt=excerpt)


SOURCES = (
    _source(1, "Write-Ahead Logging", "https://sqlite.org/wal.html"),
    _source(2, "Atomic Commit In SQLite", "https://sqlite.org/atomiccommit.html"),
    _source(3, "WAL-mode File Format", "corpus/wal-format.txt"),
)
QUESTION = Question(
    message="Is the draft good as it is?",
    task="write",
    output="A draft about **checkpoints**.",
    options=("accept", "revise"),
    default="accept",
)


@dataclass(frozen=True)
class Examples:
    """Ids of jobs: one with everything, and one of each other kind."""

    rich: str
    waiting: str
    failed: str
    cancelled: str


class Shown(NamedTuple):
    stack: RunningStack
    examples: Examples


def put_examples(folder: Path) -> Examples:
    return Examples(_rich(folder), _waiting(folder), _failed(folder), _cancelled(folder))


def _rich(folder: Path) -> str:
    """Its first process is lost, it is relayed, and it asks a human."""
    past = PastJobs(folder, timedelta(hours=2, minutes=20))
    job_id = past.submitted({"topic": TOPIC, "language": "en"})

    def research(calls: Calls) -> None:
        calls.begin_task("research", "Researcher", 1, 2)
        past.model(calls, "what to search", 1.6, 820, 64)
        past.search(calls, "wal", 0.5)
        past.model(calls, "read it", 2.4, 3900, 410)

    def first(calls: Calls) -> Answer:
        research(calls)
        return Answer(text="", usage=calls.usage())

    def second(calls: Calls) -> Answer:
        research(calls)
        past.tool(calls, "look at the clock", 0.8)
        past.model(calls, "sum up", 2.1, 5100, 530)
        calls.end_task()
        raise RelayDue("no time")

    def third(calls: Calls) -> Answer:
        research(calls)
        past.tool(calls, "look at the clock", 0.8)
        past.model(calls, "sum up", 2.1, 5100, 530)
        calls.end_task()
        calls.begin_task("write", "Writer", 2, 2)
        past.model(calls, "write", 3.2, 5600, 900)
        calls.ask(QUESTION)
        past.model(calls, "revise", 2.2, 6700, 640)
        calls.end_task()
        content = TEXT.encode()
        digest = hashlib.sha256(content).hexdigest()
        file = File(name="output/report.md", size=len(content), digest=digest, content=content)
        return Answer(text=TEXT, sources=SOURCES, answerable=True, usage=calls.usage(), files=(file,))

    past.dies_in(job_id, first)
    past.runs(job_id, second)
    past.clock.pass_(seconds=0.9)
    past.runs(job_id, third)
    past.clock.pass_(hours=2, minutes=5)
    past.answered(job_id, "Shorter, please.")
    past.clock.pass_(seconds=0.6)
    past.runs(job_id, third)
    return job_id


def _waiting(folder: Path) -> str:
    past = PastJobs(folder, timedelta(minutes=12))
    job_id = past.submitted({"topic": "What does a checkpoint do?", "language": "en"})

    def asks(calls: Calls) -> Answer:
        calls.begin_task("write", "Writer", 1, 1)
        past.model(calls, "write", 1.2, 900, 300)
        calls.ask(QUESTION)
        return Answer(text="Done.", usage=calls.usage())

    past.runs(job_id, asks)
    return job_id


def _failed(folder: Path) -> str:
    past = PastJobs(folder, timedelta(minutes=30))
    job_id = past.submitted({"topic": "Tell me of the moon", "language": "en"})

    def fails(calls: Calls) -> Answer:
        past.model(calls, "think", 1.2, 900, 300)
        raise FailedAs(
            Failure(type="no_quota", message="The model's account has no quota left: top it up, then retry the job.")
        )

    past.runs(job_id, fails)
    return job_id


def _cancelled(folder: Path) -> str:
    past = PastJobs(folder, timedelta(minutes=45))
    job_id = past.submitted({"topic": "Tell me of the sun", "language": "en"})
    past.cancelled(job_id)
    return job_id
