"""Consistent reads of several items."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crewrelay.aws.clients import unavailable_if_it_fails
from crewrelay.aws.rows import Item
from crewrelay.jobs.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_MOST_KEYS = 100  # of one BatchGetItem
MOST_LARGE = 40  # of 400 KB each: one answers with 16 MB at most


def batch_get(client: "DynamoDBClient", table: str, keys: Sequence[Item], most: int = _MOST_KEYS) -> Iterator[Item]:
    """The items that exist, in any order, `most` at once. Raises Unavailable, also if the throttled table leaves some
    out.
    """
    for start in range(0, len(keys), most):
        some = keys[start : start + most]
        with unavailable_if_it_fails("table"):
            reply = client.batch_get_item(RequestItems={table: {"Keys": some, "ConsistentRead": True}})
        if reply.get("UnprocessedKeys"):
            raise Unavailable("The table is throttled.")
        yield from reply["Responses"][table]
