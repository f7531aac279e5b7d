"""The store of subscriptions: pk=JOB#<id>, sk=HOOK#<number>. `body` is the subscription as JSON.

A row's `due_shard` and `due_at` are in the index `due`, as a job's are.
"""

import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from crewrelay.aws import rows
from crewrelay.aws.clients import error_code, unavailable_if_it_fails
from crewrelay.aws.conditional_put import put_if
from crewrelay.aws.indexes import due_in
from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.subscription import Subscription

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PREFIX = "HOOK#"
_SHARDS = [f"{_PREFIX}{number}" for number in range(rows.DUE_SHARDS)]


class DynamoSubscriptions:
    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def of(self, job_id: str) -> list[Subscription]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :hooks)",
            ExpressionAttributeValues=rows.typed({":pk": rows.pk(job_id), ":hooks": _PREFIX}),
            ConsistentRead=True,
        )
        with unavailable_if_it_fails("table"):
            found = [item for page in pages for item in page["Items"]]
        unexpired = [item for item in found if not rows.expired(item, self._clock())]
        return [Subscription.model_validate_json(item["body"]["S"]) for item in unexpired]

    def put(self, subscription: Subscription) -> None:
        now = int(self._clock().timestamp())
        self._put(subscription, "attribute_not_exists(pk) OR expires_at <= :now", {":now": now})

    def put_before_job(self, subscription: Subscription) -> None:
        """A row that nothing has happened to is put again, so that it can't be deleted as one whose submission died.
        Nothing happens to any other.
        """
        condition = "attribute_not_exists(pk) OR expires_at <= :now OR revision = :first"
        with suppress(StaleWrite):
            self._put(subscription, condition, {":now": int(self._clock().timestamp()), ":first": 1})

    def save(self, before: Subscription, after: Subscription) -> None:
        self._put(after, "revision = :old", {":old": before.revision})

    def _put(self, subscription: Subscription, condition: str, values: dict[str, Any]) -> None:
        item = _item(subscription)
        existing = put_if(self._client, self._table, item, condition, values)
        if existing is not None and existing != item:  # else a repeated write, whose first response was lost
            raise StaleWrite(f"a webhook of job {subscription.job_id} was changed by another writer")

    def delete(self, subscription: Subscription) -> None:
        with unavailable_if_it_fails("table"):
            try:
                self._client.delete_item(
                    TableName=self._table,
                    Key=_key(subscription),
                    ConditionExpression="body = :body",
                    ExpressionAttributeValues={":body": _item(subscription)["body"]},
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise

    def due(self, moment: datetime) -> Iterator[str]:
        return due_in(self._client, self._table, _SHARDS, moment)


def _key(subscription: Subscription) -> rows.Item:
    return rows.key(subscription.job_id, f"{_PREFIX}{subscription.number:03d}")


def _item(subscription: Subscription) -> rows.Item:
    due_at, shard = subscription.due_at, _SHARDS[zlib.crc32(subscription.job_id.encode()) % rows.DUE_SHARDS]
    values = {
        "tenant": subscription.tenant,
        "revision": subscription.revision,
        "due_at": rows.milliseconds(due_at),
        "due_shard": None if due_at is None else shard,
        "expires_at": int(subscription.expires_at.timestamp()),
        "body": subscription.model_dump_json(exclude_defaults=True),
    }
    return _key(subscription) | rows.typed(values)
