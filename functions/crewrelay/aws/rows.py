"""Domain objects as DynamoDB items and back.

pk=JOB#<id>: sk=JOB (small: an update bills the whole item), sk=INPUT, sk=RESULT#<fence>#<created>, sk=QUESTION#<id>,
sk=EVENTS#<first>#<created>, sk=CALL#<hash>#<nth> (`entry` is the call without its reply's body), sk=HOOK#<number>: see
subscriptions.py. Tokens: see tokens.py. Batches: see batches.py. Signing secrets: see signing.py.

`<created>` is the job's `created_at`: a job that was deleted and submitted again begins with the same fence, and its
former holder may still write. Rows of versions before it end without it.

Times are epoch milliseconds; `expires_at` is epoch seconds, as DynamoDB's TTL requires.
"""

import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any, overload

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from crewrelay.aws.bodies import Values
from crewrelay.jobs.listing import Position
from crewrelay.jobs.records.events import EventRow
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.journal import Call

# Partition keys of the indexes, which spread their writes: each takes 1,000 units a second. UNFINISHED_SHARDS and
# LISTED_SHARDS are those of each tenant.
DUE_SHARDS = 8
UNFINISHED_SHARDS = 4
LISTED_SHARDS = 8

LONGEST_ID = 64  # characters; DynamoDB refuses keys over 2 KB

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = (
    "created_at",
    "not_before",
    "due_at",
    "end_by",
    "lease_until",
    "claimed_at",
    "asked_at",
    "started_at",
    "finished_at",
)
_SHARDS = {Status.RUNNING: "LEASE", Status.WAITING: "QUESTION"}
_AS_JSON = ("log", "progress")  # as text, which is shorter than typed values
# Omitted when false, zero or empty, to keep the row small.
_RARE = ("alone", "strikes", "calls_logged", "batch_item", "notify", "retried_after")

Item = dict[str, Any]


def pk(job_id: str) -> str:
    return f"JOB#{job_id}"


def key(job_id: str, sk: str) -> Item:
    return typed({"pk": pk(job_id), "sk": sk})


def job_id(item: Item) -> str:
    own: str = item["pk"]["S"]
    return own.removeprefix("JOB#")


def due_shard(status: Status, number: int) -> str:
    """Running and waiting jobs have their own shards, so that a search among them need not read a pending backlog."""
    return f"{_SHARDS.get(status, 'DUE')}#{number}"


def unfinished(tenant: str, number: int) -> str:
    """A key of the index of unfinished jobs."""
    return f"{tenant}#{number}"


def listed(tenant: str, number: int) -> str:
    """A key of the index that lists a tenant's jobs."""
    return f"{tenant}#{number}"


def listed_at(created_at: datetime, job_id: str) -> str:
    """A sort key of that index: by time, and no two jobs have the same."""
    return f"{milliseconds(created_at):013d}#{job_id}"


FIRST, LAST = "0", ":"  # before and after all of them
_LATEST = 10**13 - 1  # milliseconds of 13 digits: the year 2286


def listed_after(time: datetime) -> str:
    """The least sort key of jobs that were submitted after this time."""
    return f"{max(0, min(milliseconds(time), _LATEST) + 1):013d}#"


def position(sort_key: str) -> Position:
    created_at, _, id_ = sort_key.partition("#")
    return Position(_EPOCH + timedelta(milliseconds=int(created_at)), id_)


def result_sks(job: Job) -> tuple[str, str]:
    """Where the answer of the job's fence is, and where earlier versions put it."""
    before = f"RESULT#{job.fence:08d}"
    return f"{before}#{milliseconds(job.created_at)}", before


def question_sk(question_id: str) -> str:
    return f"QUESTION#{question_id}"


CALLS = "CALL#"


def call_sk(call: Call) -> str:
    return f"{CALLS}{call.digest}#{call.nth:05d}"


def typed(values: Values) -> Item:
    """Plain values as typed DynamoDB values; None is left out."""
    return {name: _serialize(value) for name, value in values.items() if value is not None}


def plain(item: Item) -> Values:
    return {name: _deserialize(value) for name, value in item.items()}


def job_values(job: Job) -> Values:
    """The attributes of a JOB row without its keys. `due_shard` is set while work is outstanding. `unfinished` is until
    the job ends, and never changes before, which would cost index writes; `listed` and `listed_at` never change.
    """
    values = job.model_dump(mode="python", exclude={"id"})
    values["status"] = job.status.value
    for name in _TIMES:
        values[name] = milliseconds(values[name])
    values["expires_at"] = int(job.expires_at.timestamp())
    values["ran"] = job.ran // timedelta(milliseconds=1)
    number = zlib.crc32(job.id.encode())
    values["due_shard"] = None if job.due_at is None else due_shard(job.status, number % DUE_SHARDS)
    values["log"] = json.dumps(job.log, separators=(",", ":"), ensure_ascii=False) if job.log else None
    values["progress"] = job.progress.model_dump_json(exclude_defaults=True) if job.progress.begun else None
    for name in _RARE:
        values[name] = values[name] or None
    counts = job.capped and not job.status.finished
    values["unfinished"] = unfinished(job.tenant, number % UNFINISHED_SHARDS) if counts else None
    values["listed"] = listed(job.tenant, number % LISTED_SHARDS)
    values["listed_at"] = listed_at(job.created_at, job.id)
    return values


def job_of(item: Item) -> Job:
    values = plain(item)
    for name in _TIMES:
        values[name] = moment(values.get(name))
    values["expires_at"] = datetime.fromtimestamp(int(values["expires_at"]), UTC)
    values["ran"] = timedelta(milliseconds=int(values.get("ran", 0)))
    for name in _AS_JSON:
        if name in values:
            values[name] = json.loads(values[name])
    values["id"] = job_id(item)
    return Job.model_validate(values)


def events_sk(first: int) -> str:
    """At which the keys of rows from this entry on begin."""
    return f"EVENTS#{first:08d}"


def events_item(job: Job, row: EventRow) -> Item:
    entries = json.dumps(row.entries, separators=(",", ":"), ensure_ascii=False)
    sk = f"{events_sk(row.first)}#{milliseconds(job.created_at)}"
    return body_item(job, sk, {"entries": entries, "count": len(row.entries)})


def events_of(item: Item) -> EventRow:
    return EventRow(int(item["sk"]["S"].split("#")[1]), [tuple(each) for each in json.loads(item["entries"]["S"])])


def is_events_of(job: Job, item: Item) -> bool:
    """Whether it is not another job's that had the same id."""
    _, _, *created = item["sk"]["S"].split("#")
    return not created or created == [str(milliseconds(job.created_at))]


def body_item(job: Job, sk: str, body: Values) -> Item:
    """A further row of the job, with a body from `Bodies`. It expires with the job."""
    return key(job.id, sk) | typed({"tenant": job.tenant, "expires_at": int(job.expires_at.timestamp()), **body})


def expired(item: Item, now: datetime) -> bool:
    """Whether the row counts as deleted: TTL deletion itself can lag by days."""
    return int(item["expires_at"]["N"]) <= now.timestamp()


@overload
def milliseconds(time: datetime) -> int: ...
@overload
def milliseconds(time: None) -> None: ...
def milliseconds(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // timedelta(milliseconds=1)  # rounded down: never in the future


def moment(milliseconds: Any) -> datetime | None:
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=int(milliseconds))
