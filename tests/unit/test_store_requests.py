"""What the store asks of DynamoDB, and what it makes of answers that the emulator never gives: keys left out, pages
cut short.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from crewrelay.aws import clients, rows
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.store import DynamoJobStore
from crewrelay.events.batch import _HAND_BACK_TIME
from crewrelay.jobs.errors import Unavailable
from crewrelay.jobs.listing import Filter, Page, Position
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.policy import Policy
from tests.support.fixtures import HandSetClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
MORE = {"pk": {"S": "where the next page begins"}}


class Table:
    """Keeps the requests, and answers them from a list."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = list(answers)

    def query(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        return self._answers.pop(0)

    batch_get_item = query

    def get_paginator(self, operation: str) -> "Table":
        assert operation == "query"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(request)
        yield from self._answers


def store(table: Table, clock: HandSetClock) -> DynamoJobStore:
    no_bucket = cast("S3Client", None)
    return DynamoJobStore(cast("DynamoDBClient", table), "jobs", clock, Bodies(lambda: no_bucket, "bodies"))


def submitted(clock: HandSetClock, job_id: str = "an-id") -> Job:
    return transitions.submit(job_id, "acme", INPUT, clock(), POLICY)


@pytest.mark.parametrize("found", [[], ["JOB"]], ids=["all left out", "the input left out"])
def test_keys_that_a_throttled_table_leaves_out_are_not_taken_for_absent(clock: HandSetClock, found: list[str]) -> None:
    item = rows.key("an-id", "JOB") | rows.typed(rows.job_values(submitted(clock)))
    left_out = {"jobs": {"Keys": [rows.key("an-id", sk) for sk in ("JOB", "INPUT") if sk not in found]}}
    table = Table({"Responses": {"jobs": [item] * len(found)}, "UnprocessedKeys": left_out})
    with pytest.raises(Unavailable, match="throttled"):
        store(table, clock).load("an-id")


def test_what_is_due_is_read_to_the_last_page_of_each_shard_and_none_waits_for_another(clock: HandSetClock) -> None:
    first = [{"Items": [rows.key(f"first {shard}", "JOB")], "LastEvaluatedKey": MORE} for shard in range(8)]
    second = [{"Items": [rows.key(f"second {shard}", "JOB")]} for shard in range(8)]
    table = Table(*first, *second)
    due = list(store(table, clock).due(Status.PENDING, clock()))
    assert due == [f"{page} {shard}" for page in ("first", "second") for shard in range(8)]
    shards = [request["ExpressionAttributeValues"][":shard"]["S"] for request in table.asked]
    assert shards == [f"DUE#{shard}" for shard in range(8)] * 2
    assert [request.get("ExclusiveStartKey") for request in table.asked] == [None] * 8 + [MORE] * 8


def test_unfinished_jobs_are_counted_to_the_last_page_and_no_further_than_asked(clock: HandSetClock) -> None:
    pages: list[dict[str, Any]] = [{"Count": 3, "LastEvaluatedKey": MORE}, {"Count": 2}, *[{"Count": 1}] * 3]
    table = Table(*pages)
    assert store(table, clock).unfinished("acme", 10) == 8
    assert [request.get("ExclusiveStartKey") for request in table.asked] == [None, MORE, None, None, None]
    assert [request["Limit"] for request in table.asked] == [10, 7, 5, 4, 3]
    shards = [request["ExpressionAttributeValues"][":shard"]["S"] for request in table.asked]
    assert shards == ["acme#0", "acme#0", "acme#1", "acme#2", "acme#3"]
    assert store(Table(*pages), clock).unfinished("acme", 3) == 3


def test_no_list_is_asked_for_in_a_range_that_ends_before_it_begins(clock: HandSetClock) -> None:
    table, wanted = Table(), Filter(created_after=clock())
    before = Position(clock() - timedelta(days=1), "an-id")
    assert store(table, clock).listed("acme", wanted, before, 10) == Page([], None)
    assert table.asked == []


def test_what_is_decided_on_is_read_consistently(clock: HandSetClock) -> None:
    job = submitted(clock)
    call = Call(digest="d", nth=0, kind=Kind.MODEL, seconds=1, reply=Reply(body="yes"))
    kept = rows.body_item(job, rows.call_sk(call), {"entry": call.without_body().model_dump_json()})
    rows_of_job, entries, journal = Table({"Responses": {"jobs": []}}), Table({"Items": [kept]}), Table({"Items": []})
    assert store(rows_of_job, clock).load(job.id) is None
    assert store(entries, clock).entries(job) == [call.without_body()]
    assert list(store(journal, clock).journal(job)) == []
    asked = [rows_of_job.asked[0]["RequestItems"]["jobs"], *entries.asked, *journal.asked]
    assert [request["ConsistentRead"] for request in asked] == [True] * 3


def test_jobs_are_spread_over_every_shard_of_the_due_index(clock: HandSetClock) -> None:
    shards = [rows.job_values(submitted(clock, f"job {number}"))["due_shard"] for number in range(400)]
    assert set(shards) == {f"DUE#{shard}" for shard in range(8)}
    assert max(map(shards.count, shards)) < 2 * 400 / 8


@pytest.mark.parametrize("client", [clients.dynamodb, clients.sqs, clients.s3], ids=lambda client: client.__name__)
def test_a_service_that_hangs_is_given_up_while_the_lease_still_stands(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config = client.__wrapped__().meta.config
    timeout = timedelta(seconds=config.retries["total_max_attempts"] * config.read_timeout)
    assert timeout < POLICY.renewal
    assert 3 * timeout <= _HAND_BACK_TIME
