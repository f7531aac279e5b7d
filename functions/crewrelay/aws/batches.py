"""The store of batches, pk=BATCH#<id>: sk=BATCH; of an uploaded file also sk=CHUNK#<number>, its items, and
sk=OUTCOMES#<number>, how they have ended. Items are compressed: at most 256 KB, by their limits.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from crewrelay.aws import rows
from crewrelay.aws.clients import error_code, unavailable_if_it_fails
from crewrelay.aws.conditional_put import put_if
from crewrelay.aws.indexes import unfinished_in
from crewrelay.aws.subscriptions import DynamoSubscriptions
from crewrelay.jobs.errors import IdempotencyConflict, StaleWrite
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.batch import CHUNK, Batch, BatchItem, Outcomes
from crewrelay.jobs.records.subscription import Subscription

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_DUE = "UPLOAD"  # one shard of the index `due`: uploads are few
_LAST = "~"  # after all numbers


class DynamoBatches:
    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._subscriptions = DynamoSubscriptions(client, table, clock)

    def create(self, batch: Batch, subscription: Subscription | None = None) -> Batch:
        """Puts the BATCH row, which may refuse the request, then the subscription: nobody knows the batch before both
        are there, and the request, repeated, puts what it did not.
        """
        existing = put_if(
            self._client,
            self._table,
            _item_of(batch),
            "attribute_not_exists(pk) OR expires_at <= :now",
            {":now": self._now()},
        )
        kept = batch if existing is None else _batch_of(existing)
        if kept.digest != batch.digest:
            raise IdempotencyConflict("This idempotency key was already used with a different body.")
        if subscription:
            with suppress(StaleWrite):  # it is there
                self._subscriptions.put(subscription)
        return kept

    def load(self, batch_id: str, tenant: str | None) -> Batch | None:
        if len(batch_id) > rows.LONGEST_ID:
            return None
        with unavailable_if_it_fails("table"):
            item = self._client.get_item(TableName=self._table, Key=_key(batch_id), ConsistentRead=True).get("Item")
        if not item or tenant not in (None, item["tenant"]["S"]) or rows.expired(item, self._clock()):
            return None
        return _batch_of(item)

    def save(self, before: Batch, after: Batch) -> None:
        assert before.upload
        existing = put_if(
            self._client, self._table, _item_of(after), "revision = :revision", {":revision": before.upload.revision}
        )
        if existing is not None and (not existing or _batch_of(existing) != after):  # else a repeated write
            raise StaleWrite(f"batch {after.id} was changed by another writer")

    def due(self, moment: datetime) -> Iterator[str]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="due",
            KeyConditionExpression="due_shard = :shard AND due_at <= :moment",
            ExpressionAttributeValues=rows.typed({":shard": _DUE, ":moment": rows.milliseconds(moment)}),
        )
        with unavailable_if_it_fails("table"):
            for page in pages:
                yield from (item["pk"]["S"].removeprefix("BATCH#") for item in page["Items"])

    def unfinished(self, tenant: str, most: int) -> int:
        return unfinished_in(self._client, self._table, _unfinished(tenant), most)

    def put_chunk(self, batch: Batch, number: int, items: Sequence[BatchItem]) -> tuple[BatchItem, ...]:
        condition = "attribute_not_exists(pk) OR expires_at <= :now"
        item = _chunk_of(batch, number, items)
        existing = put_if(self._client, self._table, item, condition, {":now": self._now()})
        return tuple(items) if existing is None else _items_of(existing)

    def replace_chunk(self, batch: Batch, number: int, items: Sequence[BatchItem]) -> None:
        put_if(
            self._client,
            self._table,
            _chunk_of(batch, number, items),
            "expires_at = :end",
            {":end": int(batch.expires_at.timestamp())},
        )

    def chunks(self, batch: Batch, first: int = 0) -> Iterator[tuple[int, tuple[BatchItem, ...]]]:
        for item in self._rows_of(batch, "CHUNK", first):
            yield _number(item), _items_of(item)

    def outcomes(self, batch: Batch, first: int = 0) -> dict[int, Outcomes]:
        return {
            _number(item): Outcomes(
                item.get("letters", {}).get("S", ""),
                frozenset(int(place) for place in item.get("reopened", {}).get("NS", ())),
            )
            for item in self._rows_of(batch, "OUTCOMES", first)
        }

    def _rows_of(self, batch: Batch, kind: str, first: int) -> Iterator[rows.Item]:
        values = {":pk": _pk(batch.id), ":first": f"{kind}#{first:05d}", ":last": f"{kind}#{_LAST}"}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues=rows.typed(values),
            ConsistentRead=True,
        )
        with unavailable_if_it_fails("table"):
            for page in pages:
                yield from (item for item in page["Items"] if not rows.expired(item, self._clock()))

    def put_outcomes(self, batch: Batch, number: int, letters: str) -> None:
        self._note(batch.id, number, "SET expires_at = :end, letters = :noted", {"letters": letters}, batch.expires_at)

    def reopen(self, batch_id: str, item: int, expires_at: datetime) -> None:
        number, place = divmod(item, CHUNK)
        self._note(batch_id, number, "SET expires_at = :end ADD reopened :noted", {"reopened": {place}}, expires_at)

    def _note(self, batch_id: str, number: int, update: str, noted: dict[str, Any], expires_at: datetime) -> None:
        """A row of an expired batch of the same id gives way: what it says must not come back."""
        key, end = _key(batch_id, f"OUTCOMES#{number:05d}"), int(expires_at.timestamp())
        (value,) = noted.values()
        with unavailable_if_it_fails("table"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=key,
                    UpdateExpression=update,
                    ConditionExpression="attribute_not_exists(pk) OR expires_at > :now",
                    ExpressionAttributeValues=rows.typed({":noted": value, ":end": end, ":now": self._now()}),
                )
                return
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
        item = key | rows.typed({**noted, "expires_at": end})
        if put_if(self._client, self._table, item, "expires_at <= :now", {":now": self._now()}) is not None:
            self._note(batch_id, number, update, noted, expires_at)  # another one was faster

    def _now(self) -> int:
        return int(self._clock().timestamp())


def _pk(batch_id: str) -> str:
    return f"BATCH#{batch_id}"


def _unfinished(tenant: str) -> str:
    """A key of the index of unfinished jobs that no job has."""
    return f"{tenant}#{_DUE}"


def _key(batch_id: str, sk: str = "BATCH") -> rows.Item:
    return rows.typed({"pk": _pk(batch_id), "sk": sk})


def _item_of(batch: Batch) -> rows.Item:
    upload = batch.upload
    values = {
        "tenant": batch.tenant,
        "expires_at": int(batch.expires_at.timestamp()),
        "body": gzip.compress(batch.model_dump_json().encode(), mtime=0),
        "revision": upload and upload.revision,
        "due_shard": _DUE if upload and upload.due_at else None,
        "due_at": rows.milliseconds(upload.due_at) if upload and upload.due_at else None,
        "unfinished": _unfinished(batch.tenant) if upload and upload.due_at else None,
    }
    return _key(batch.id) | rows.typed(values)


def _batch_of(item: rows.Item) -> Batch:
    return Batch.model_validate_json(gzip.decompress(bytes(rows.plain(item)["body"])))


def _chunk_of(batch: Batch, number: int, items: Sequence[BatchItem]) -> rows.Item:
    body = gzip.compress(json.dumps([(item.custom_id, item.rejection) for item in items]).encode(), mtime=0)
    values = {"expires_at": int(batch.expires_at.timestamp()), "body": body}
    return _key(batch.id, f"CHUNK#{number:05d}") | rows.typed(values)


def _items_of(item: rows.Item) -> tuple[BatchItem, ...]:
    read = json.loads(gzip.decompress(bytes(rows.plain(item)["body"])))
    return tuple(BatchItem(custom_id=custom_id, rejection=rejection) for custom_id, rejection in read)


def _number(item: rows.Item) -> int:
    return int(item["sk"]["S"].rpartition("#")[2])
