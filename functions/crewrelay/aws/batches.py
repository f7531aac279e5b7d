"""The store of batches: pk=BATCH#<id>, sk=BATCH. Its items are compressed: at most 256 KB, by their limits."""

import gzip
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from crewrelay.aws import rows
from crewrelay.aws.clients import error_code, unavailable_if_it_fails
from crewrelay.jobs.batch import Batch
from crewrelay.jobs.errors import IdempotencyConflict
from crewrelay.jobs.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoBatches:
    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def create(self, batch: Batch) -> Batch:
        values = {
            "tenant": batch.tenant,
            "expires_at": int(batch.expires_at.timestamp()),
            "body": gzip.compress(batch.model_dump_json().encode(), mtime=0),
        }
        with unavailable_if_it_fails("table"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=_key(batch.id) | rows.typed(values),
                    ConditionExpression="attribute_not_exists(pk) OR expires_at <= :now",
                    ExpressionAttributeValues=rows.typed({":now": int(self._clock().timestamp())}),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                existing = _batch_of(error.response["Item"])  # type: ignore[typeddict-item]
            else:
                return batch
        if existing.digest != batch.digest:
            raise IdempotencyConflict("This idempotency key was already used with a different body.")
        return existing

    def load(self, batch_id: str, tenant: str) -> Batch | None:
        if len(batch_id) > rows.LONGEST_ID:
            return None
        with unavailable_if_it_fails("table"):
            item = self._client.get_item(TableName=self._table, Key=_key(batch_id), ConsistentRead=True).get("Item")
        if not item or item["tenant"]["S"] != tenant or rows.expired(item, self._clock()):
            return None
        return _batch_of(item)


def _key(batch_id: str) -> rows.Item:
    return rows.typed({"pk": f"BATCH#{batch_id}", "sk": "BATCH"})


def _batch_of(item: rows.Item) -> Batch:
    return Batch.model_validate_json(gzip.decompress(bytes(rows.plain(item)["body"])))
