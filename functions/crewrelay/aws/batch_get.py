"""Consistent reads of several items."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crewrelay.aws.clients import unavailable_if_it_fails
from crewrelay.aws.rows import Item
from crewrelay.jobs.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_MOST_KEYS = 100  # of one BatchGetItem


def batch_get(client: "DynamoDBClient", table: str, keys: Sequence[Item]) -> Iterator[Item]:
    """The items that exist, in any order. Raises Unavailable, also if the throttled table leaves some out."""
    for start in range(0, len(keys), _MOST_KEYS):
        some = keys[start : start + _MOST_KEYS]
        with unavailable_if_it_fails("table"):
            reply = client.batch_get_item(RequestItems={table: {"Keys": some, "ConsistentRead": True}})
        if reply.get("UnprocessedKeys"):
            raise Unavailable("The table is throttled.")
        yield from reply["Responses"][table]
