"""Jobs by the indexes `due` and `unfinished`."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crewrelay.aws import rows
from crewrelay.aws.clients import unavailable_if_it_fails
from crewrelay.jobs.records.job import Status

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PAGE = 100  # items


def due(client: "DynamoDBClient", table: str, status: Status, moment: datetime) -> Iterator[str]:
    shards = [rows.due_shard(status, number) for number in range(rows.DUE_SHARDS)]
    return due_in(client, table, shards, moment)


def due_in(client: "DynamoDBClient", table: str, shards: Iterable[str], moment: datetime) -> Iterator[str]:
    """Reads pages round-robin over the shards, so that no shard waits for another's backlog."""
    starts: dict[str, Any] = {shard: {} for shard in shards}
    while starts:
        for shard, start in list(starts.items()):
            with unavailable_if_it_fails("table"):
                page = client.query(
                    TableName=table,
                    IndexName="due",
                    KeyConditionExpression="due_shard = :shard AND due_at <= :moment",
                    ExpressionAttributeValues=rows.typed({":shard": shard, ":moment": rows.milliseconds(moment)}),
                    Limit=_PAGE,
                    **start,
                )
            yield from (rows.job_id(item) for item in page["Items"])
            if last := page.get("LastEvaluatedKey"):
                starts[shard] = {"ExclusiveStartKey": last}
            else:
                del starts[shard]


def unfinished(client: "DynamoDBClient", table: str, tenant: str, most: int) -> int:
    count = 0
    for number in range(rows.UNFINISHED_SHARDS):
        if count < most:
            count += unfinished_in(client, table, rows.unfinished(tenant, number), most - count)
    return count


def unfinished_in(client: "DynamoDBClient", table: str, shard: str, most: int) -> int:
    count, start = 0, dict[str, Any]()
    while count < most:
        with unavailable_if_it_fails("table"):
            page = client.query(
                TableName=table,
                IndexName="unfinished",
                Select="COUNT",
                KeyConditionExpression="unfinished = :shard",
                ExpressionAttributeValues=rows.typed({":shard": shard}),
                Limit=most - count,
                **start,
            )
        count += page["Count"]
        if not (last := page.get("LastEvaluatedKey")):
            break
        start = {"ExclusiveStartKey": last}
    return count
