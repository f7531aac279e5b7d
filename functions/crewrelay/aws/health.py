"""What `crewrelay doctor` looks at in a deployed stack."""

from collections.abc import Callable, Iterator

import boto3

from crewrelay.aws import clients
from crewrelay.jobs.errors import Misconfigured

Check = tuple[str, Callable[[], str]]


def of_stack(stack: str) -> Iterator[Check]:
    """Each one raises Misconfigured or Unavailable if something is wrong."""
    yield "credentials", _caller
    yield "table", lambda: _table(clients.resource(stack, "JobsTable"))
    yield "bucket", lambda: _bucket(clients.resource(stack, "BodiesBucket"))
    for queue, dead_letters, redrive in (
        ("JobQueue", "JobDeadLetterQueue", "crewrelay redrive"),
        ("IntakeQueue", "IntakeDeadLetterQueue", "crewrelay redrive intake"),
    ):
        yield queue, lambda queue=queue: f"holds {_depth(clients.resource(stack, queue))} messages"  # type: ignore[misc]
        yield (
            dead_letters,
            lambda name=dead_letters, redrive=redrive: _empty(
                clients.resource(stack, name), f"{redrive} --stack {stack}"
            ),  # type: ignore[misc]
        )


def _caller() -> str:
    with clients.unavailable_if_it_fails("service that says whose the credentials are"):
        return f"those of {boto3.client('sts').get_caller_identity()['Arn']}"


def _table(name: str) -> str:
    with clients.unavailable_if_it_fails(f"table {name}"):
        table = clients.dynamodb().describe_table(TableName=name)["Table"]
    indexes = {index.get("IndexName"): index.get("IndexStatus") for index in table.get("GlobalSecondaryIndexes", [])}
    if table.get("TableStatus") not in ("ACTIVE", "UPDATING") or "due" not in indexes:
        raise Misconfigured(f"The table {name} is {table.get('TableStatus')}: wait, or deploy the stack again")
    return f"{name} is there, with its indexes {', '.join(sorted(map(str, indexes)))}"


def _bucket(name: str) -> str:
    with clients.unavailable_if_it_fails(f"bucket {name}"):
        clients.s3().head_bucket(Bucket=name)
    return f"{name} is there"


def _depth(url: str) -> int:
    with clients.unavailable_if_it_fails(f"queue {url}"):
        found = clients.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def _empty(url: str, redrive: str) -> str:
    if depth := _depth(url):
        raise Misconfigured(f"It holds {depth} messages: see why in the logs, then `{redrive}`")
    return "is empty"
