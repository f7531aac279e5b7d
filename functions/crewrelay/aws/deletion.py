"""Deletes a job's objects and rows."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from crewrelay.aws import rows
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import error_code, unavailable_if_it_fails
from crewrelay.jobs.records.job import Job

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def delete_all(client: "DynamoDBClient", table: str, bodies: Bodies, job: Job) -> None:
    """The job's own row goes last: until then no new job of its id can take over what is left."""
    bodies.delete(job.id)
    pages = client.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues=rows.typed({":pk": rows.pk(job.id)}),
        ProjectionExpression="pk, sk, expires_at",
        ConsistentRead=True,
    )
    with unavailable_if_it_fails("table"):
        found: list[rows.Item] = [dict(item) for page in pages for item in page["Items"]]
        for item in found:
            if item["sk"]["S"] != "JOB":
                expires_at = item.pop("expires_at")
                _delete_if(client, table, item, "expires_at = :seen", expires_at)
        revision = rows.typed({"revision": job.revision})["revision"]
        _delete_if(client, table, rows.key(job.id, "JOB"), "revision = :seen", revision)


def _delete_if(client: "DynamoDBClient", table: str, key: rows.Item, condition: str, seen: rows.Item) -> None:
    """Nothing if another deletion was faster, after which there may be a new job of the same id."""
    try:
        client.delete_item(
            TableName=table, Key=key, ConditionExpression=condition, ExpressionAttributeValues={":seen": seen}
        )
    except ClientError as error:
        if error_code(error) != "ConditionalCheckFailedException":
            raise
