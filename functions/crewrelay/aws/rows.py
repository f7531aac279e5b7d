"""Domain objects as DynamoDB items and back.

pk=JOB#<id>: sk=JOB (small: an update bills the whole item), sk=INPUT, sk=RESULT#<fence>.

Times are epoch milliseconds; `expires_at` is epoch seconds, as DynamoDB's TTL wants it.
"""

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from crewrelay.jobs.answer import Answer
from crewrelay.jobs.job import Job, JobInput

DUE_SHARDS = 8  # the index has few keys and many writers: spread them over partitions

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("created_at", "not_before", "due_at", "lease_until", "started_at", "finished_at")

Item = dict[str, Any]


def key(job_id: str, sk: str) -> Item:
    return typed({"pk": f"JOB#{job_id}", "sk": sk})


def result_sk(fence: int) -> str:
    return f"RESULT#{fence:08d}"


def typed(values: dict[str, Any]) -> Item:
    """Plain values as DynamoDB's typed ones, without those that are None."""
    return {name: _serialize(value) for name, value in values.items() if value is not None}


def plain(item: Item) -> dict[str, Any]:
    return {name: _deserialize(value) for name, value in item.items()}


def job_values(job: Job) -> dict[str, Any]:
    """The attributes of a JOB row, keys left out; `due_shard` stands only while something is owed."""
    values = job.model_dump(mode="python", exclude={"id"})
    values["status"] = job.status.value
    for name in _TIMES:
        values[name] = _milliseconds(values[name])
    values["expires_at"] = int(job.expires_at.timestamp())
    values["due_shard"] = None if job.due_at is None else f"DUE#{zlib.crc32(job.id.encode()) % DUE_SHARDS}"
    return values


def job_of(item: Item) -> Job:
    values = plain(item)
    for name in _TIMES:
        values[name] = _datetime(values.get(name))
    values["expires_at"] = datetime.fromtimestamp(int(values["expires_at"]), UTC)
    values["id"] = values["pk"].removeprefix("JOB#")
    return Job.model_validate(values)


def input_item(job: Job, job_input: JobInput) -> Item:
    return _body_item(job, "INPUT", job_input.model_dump_json(), input_digest=job.input_digest)


def input_of(item: Item) -> JobInput:
    return JobInput.model_validate_json(_body(item))


def answer_item(job: Job, answer: Answer) -> Item:
    return _body_item(job, result_sk(job.fence), answer.model_dump_json())


def answer_of(item: Item) -> Answer:
    return Answer.model_validate_json(_body(item))


def expired(item: Item, now: datetime) -> bool:
    """TTL deletion lags by days: a row past its expiry is treated as gone from that moment."""
    return int(item["expires_at"]["N"]) <= now.timestamp()


def _body_item(job: Job, sk: str, body: str, **more: str) -> Item:
    values = {
        "tenant": job.tenant,
        "body": zlib.compress(body.encode()),
        "expires_at": int(job.expires_at.timestamp()),
        **more,
    }
    return key(job.id, sk) | typed(values)


def _body(item: Item) -> bytes:
    body: bytes = item["body"]["B"]
    return zlib.decompress(body)


def _milliseconds(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // timedelta(milliseconds=1)  # down: never in the future


def _datetime(milliseconds: Any) -> datetime | None:
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=int(milliseconds))
