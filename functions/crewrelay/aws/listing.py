"""A tenant's jobs by the index `listed`, newest first: the tenant's shards are read side by side."""

import heapq
from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from crewrelay.aws import rows
from crewrelay.aws.clients import unavailable_if_it_fails
from crewrelay.jobs.listing import Filter, Position

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_MOST_READ = 500  # entries of a request, when a filter may leave out most of them
_MOST_FURTHER = 16  # requests beyond the first of each shard, before a page ends as it is

Entry = tuple[str, bool]  # its sort key, and whether it fits; one that doesn't says how far the shard was read


def listed(
    client: "DynamoDBClient", table: str, tenant: str, wanted: Filter, after: Position | None, limit: int
) -> tuple[list[str], str | None]:
    """Up to `limit` sort keys, and the one that the next page begins after; None at the end."""
    oldest = rows.listed_after(wanted.created_after) if wanted.created_after else rows.FIRST
    newest = rows.listed_at(*after) if after else rows.LAST
    if oldest > newest:  # DynamoDB refuses such a range
        return [], None
    found: list[str] = []
    further = 0
    shards = (
        _shard(client, newest, _request(table, rows.listed(tenant, number), wanted, oldest, newest, limit))
        for number in range(rows.LISTED_SHARDS)
    )
    for sort_key, fits in heapq.merge(*shards, key=itemgetter(0), reverse=True):
        if fits and len(found) == limit:
            return found, found[-1]
        if fits:
            found.append(sort_key)
        elif (further := further + 1) > _MOST_FURTHER:
            return found, sort_key
    return found, None


def _shard(client: "DynamoDBClient", newest: str, request: dict[str, Any]) -> Iterator[Entry]:
    while True:
        with unavailable_if_it_fails("table"):
            page = client.query(**request)
        for item in page["Items"]:
            if item["listed_at"]["S"] != newest:  # a range includes both its ends
                yield item["listed_at"]["S"], True
        if not (last := page.get("LastEvaluatedKey")):
            return
        yield last["listed_at"]["S"], False
        request["ExclusiveStartKey"] = last


def _request(table: str, shard: str, wanted: Filter, oldest: str, newest: str, limit: int) -> dict[str, Any]:
    values = {":shard": shard, ":oldest": oldest, ":newest": newest}
    request: dict[str, Any] = {
        "TableName": table,
        "IndexName": "listed",
        "KeyConditionExpression": "listed = :shard AND listed_at BETWEEN :oldest AND :newest",
        "ScanIndexForward": False,
        "Limit": limit // 4 + 1,  # an even spread needs an eighth
    }
    filtered = {"status": wanted.status and wanted.status.value, "crew": wanted.crew}
    if asked := {name: value for name, value in filtered.items() if value is not None}:
        request["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in asked)
        request["ExpressionAttributeNames"] = {f"#{name}": name for name in asked}
        request["Limit"] = _MOST_READ
        values |= {f":{name}": value for name, value in asked.items()}
    return request | {"ExpressionAttributeValues": rows.typed(values)}
