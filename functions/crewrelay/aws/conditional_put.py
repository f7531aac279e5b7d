"""Puts a row on a condition."""

from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from crewrelay.aws import rows
from crewrelay.aws.clients import error_code, unavailable_if_it_fails

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def put_if(
    client: "DynamoDBClient", table: str, item: rows.Item, condition: str, values: dict[str, Any]
) -> rows.Item | None:
    """None if the row is put; else the existing one, empty if there is none. Raises Unavailable."""
    with unavailable_if_it_fails("table"):
        try:
            client.put_item(
                TableName=table,
                Item=item,
                ConditionExpression=condition,
                ExpressionAttributeValues=rows.typed(values),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return cast(rows.Item, error.response.get("Item", {}))
    return None
