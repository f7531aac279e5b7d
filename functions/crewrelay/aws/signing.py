"""The store of signing secrets: pk=TENANT#<name>, sk=WEBHOOKS."""

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from crewrelay.aws import rows
from crewrelay.aws.clients import error_code, unavailable_if_it_fails
from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.webhooks.signing import SigningSecret

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoSigningSecrets:
    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def load(self, tenant: str) -> SigningSecret | None:
        with unavailable_if_it_fails("table"):
            item = self._client.get_item(TableName=self._table, Key=_key(tenant), ConsistentRead=True).get("Item")
        return SigningSecret.model_validate_json(item["body"]["S"]) if item else None

    def save(self, before: SigningSecret | None, after: SigningSecret) -> None:
        item = _key(after.tenant) | rows.typed({"revision": after.revision, "body": after.model_dump_json()})
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if before:
            condition = {
                "ConditionExpression": "revision = :old",
                "ExpressionAttributeValues": rows.typed({":old": before.revision}),
            }
        with unavailable_if_it_fails("table"):
            try:
                self._client.put_item(
                    TableName=self._table, Item=item, ReturnValuesOnConditionCheckFailure="ALL_OLD", **condition
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                if error.response.get("Item") != item:  # else a repeated write, whose first response was lost
                    raise StaleWrite(f"the signing secret of {after.tenant} was changed by another writer") from error


def _key(tenant: str) -> rows.Item:
    return rows.typed({"pk": f"TENANT#{tenant}", "sk": "WEBHOOKS"})
