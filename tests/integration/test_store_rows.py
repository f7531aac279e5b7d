"""The rows of a job in DynamoDB."""

import json
import uuid

from crewrelay.aws import rows
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Failure, JobInput
from crewrelay.jobs.records.journal import Call, Kind, Reply
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import ANSWER, POLICY, claimed, submitted


def test_every_row_carries_its_tenant_and_its_expiry(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    running = claimed(store, submitted(store, clock), clock)
    store.put_answer(running, ANSWER)
    store.save(running, transitions.complete(running, clock()))
    stored = storage.rows()
    assert {row["sk"]["S"] for row in stored} == {
        "JOB",
        "INPUT",
        f"RESULT#00000001#{rows.milliseconds(running.created_at)}",
    }
    for row in stored:
        assert row["tenant"] == {"S": "acme"}
        assert row["expires_at"] == {"N": str(int(running.expires_at.timestamp()))}


def job_row_size(storage: Storage, job_id: str) -> int:
    """Names, values and type tags: a little more than DynamoDB counts."""
    item = storage.dynamodb.get_item(TableName=storage.table, Key=rows.key(job_id, "JOB"))["Item"]
    return len(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode())


def test_the_job_row_stays_small_whatever_the_topic(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    job = submitted(store, clock, JobInput(crew="research", inputs={"topic": "漢" * 2000, "language": "zh-Hant-TW"}))
    running = claimed(store, job, clock, str(uuid.uuid4()))
    assert job_row_size(storage, job.id) < 2048
    reply = Call(digest="d" * 64, nth=99_999, kind=Kind.MODEL, seconds=1, reply=Reply(body=""))
    failure = Failure(type="UnprocessableEntityError", message="🌧" * 5_000)
    for _ in range(9):  # retried again and again
        failed = transitions.fail(running, failure, clock(), reply)
        store.save(running, failed)
        assert job_row_size(storage, job.id) < 2048
        retried = transitions.retry(failed, clock(), POLICY)
        store.save(failed, retried)
        running = claimed(store, retried, clock, str(uuid.uuid4()))
