"""What tests put into a job store, and how a job of theirs gets on."""

import base64
import json
import random
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest

from crewrelay.aws import rows
from crewrelay.aws.bodies import Bodies
from crewrelay.jobs.ports import JobRecord, JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Source, Usage
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import HandSetClock, Storage

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "Grüße, 世界 🌍", "language": "de"})
OTHER_INPUT = JobInput(crew="research", inputs={"topic": "something else", "language": "de"})
ANSWER = Answer(
    text="Grüße [1]",
    sources=(Source(number=1, id="a#1", title="A", url="https://example.org/a", text="Grüße, 世界", excerpt="世界"),),
    usage=Usage(model="scripted/one", calls=2, prompt_tokens=10, completion_tokens=5),
)
FAILURE = Failure(type="TimeoutError", message="The model did not answer.", retryable=True)


def submitted(store: JobStore, clock: HandSetClock, job_input: JobInput = INPUT, job_id: str | None = None) -> Job:
    job = transitions.submit(job_id or str(uuid.uuid4()), "acme", job_input, clock(), POLICY)
    return store.create(job, job_input)


def claimed(store: JobStore, before: Job, clock: HandSetClock, holder: str = "one") -> Job:
    job = transitions.claim(before, holder, "crew-1", clock(), POLICY)
    store.save(before, job)
    return job


def loaded(store: JobStore, job_id: str) -> JobRecord:
    record = store.load(job_id)
    assert record is not None
    return record


def text_of_compressed_size(size: int) -> str:
    """Letters that compress to about `size` bytes and no further."""
    return base64.b64encode(random.Random(7).randbytes(size)).decode()


def completed(store: JobStore, job: Job, clock: HandSetClock) -> Job:
    store.put_answer(job, ANSWER)
    return transitions.complete(job, clock())


def call_of(text: str = "a reply", digest: str = "d" * 64, nth: int = 0) -> Call:
    used = {"prompt_tokens": 10, "completion_tokens": 5, "cost_usd": Decimal("0.00000123")}
    reply = Reply(body=json.dumps(text), model="scripted/one", **used)  # type: ignore[arg-type]
    at = HandSetClock().now + timedelta(seconds=nth)
    return Call(digest=digest, nth=nth, kind=Kind.MODEL, seconds=1.5, fence=1, at=at, reply=reply)


def bodies(storage: Storage) -> Bodies:
    return Bodies(lambda: storage.s3, storage.bucket)


def due_job_ids(storage: Storage) -> set[str]:
    found: set[str] = set()
    shards = [
        rows.due_shard(status, n)
        for status in (Status.PENDING, Status.RUNNING, Status.WAITING)
        for n in range(rows.DUE_SHARDS)
    ]
    for shard in shards:
        page = storage.dynamodb.query(
            TableName=storage.table,
            IndexName="due",
            KeyConditionExpression="due_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": shard}},
        )
        found |= {item["pk"]["S"].removeprefix("JOB#") for item in page["Items"]}
    return found


SQL_OF_DAMAGE = {
    "input": "DELETE FROM inputs WHERE job_id = ?",
    "row": "UPDATE jobs SET job = json_set(job, '$.receipt', 'nonsense') WHERE id = ?",
}


def damage(request: pytest.FixtureRequest, store: JobStore, job: Job, what: str) -> None:
    if isinstance(store, MemoryJobStore):
        store.damaged.add(job.id)
        return
    if isinstance(store, SqliteJobStore):
        with request.getfixturevalue("database").writing() as connection:
            connection.execute(SQL_OF_DAMAGE[what], (job.id,))
        return
    storage: Storage = request.getfixturevalue("storage")
    if what == "input":
        storage.dynamodb.delete_item(TableName=storage.table, Key=rows.key(job.id, "INPUT"))
    else:
        storage.dynamodb.update_item(
            TableName=storage.table,
            Key=rows.key(job.id, "JOB"),
            UpdateExpression="SET receipt = :nonsense",
            ExpressionAttributeValues=rows.typed({":nonsense": "nonsense"}),
        )
