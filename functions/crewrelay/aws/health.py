"""Checks of a deployed stack for `crewrelay doctor`."""

from collections.abc import Iterator
from functools import partial

import boto3

from crewrelay.aws import clients
from crewrelay.health import Check
from crewrelay.jobs.errors import Misconfigured


def stack_checks(stack: str) -> Iterator[Check]:
    """Each check raises Misconfigured or Unavailable if something is wrong."""
    yield "credentials", _caller
    yield "table", partial(_table, stack)
    yield "bucket", partial(_bucket, stack)
    for queue, dead_letters, redrive in (
        ("JobQueue", "JobDeadLetterQueue", "crewrelay redrive"),
        ("IntakeQueue", "IntakeDeadLetterQueue", "crewrelay redrive intake"),
        ("NotifyQueue", "NotifyDeadLetterQueue", "crewrelay redrive notify"),
    ):
        yield queue, partial(_waiting, stack, queue)
        yield dead_letters, partial(_empty, stack, dead_letters, f"{redrive} --stack {stack}")


def _caller() -> str:
    with clients.unavailable_if_it_fails("security token service (STS)"):
        return f"of {boto3.client('sts').get_caller_identity()['Arn']}"


def _table(stack: str) -> str:
    name = clients.resource(stack, "JobsTable")
    with clients.unavailable_if_it_fails(f"table {name}"):
        table = clients.dynamodb().describe_table(TableName=name)["Table"]
    indexes = {index.get("IndexName"): index.get("IndexStatus") for index in table.get("GlobalSecondaryIndexes", [])}
    if table.get("TableStatus") not in ("ACTIVE", "UPDATING") or "due" not in indexes:
        raise Misconfigured(f"The table {name} is {table.get('TableStatus')}: wait, or redeploy the stack")
    return f"{name} exists, with the indexes {', '.join(sorted(map(str, indexes)))}"


def _bucket(stack: str) -> str:
    name = clients.resource(stack, "BodiesBucket")
    with clients.unavailable_if_it_fails(f"bucket {name}"):
        clients.s3().head_bucket(Bucket=name)
    return f"{name} exists"


def _waiting(stack: str, queue: str) -> str:
    return f"holds {_depth(stack, queue)} messages"


def _depth(stack: str, queue: str) -> int:
    url = clients.resource(stack, queue)
    with clients.unavailable_if_it_fails(f"queue {url}"):
        found = clients.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def _empty(stack: str, queue: str, redrive: str) -> str:
    if depth := _depth(stack, queue):
        raise Misconfigured(f"It holds {depth} messages: find the cause in the logs, then run `{redrive}`")
    return "is empty"
