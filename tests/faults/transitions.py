"""What became of every job, as the table's own stream tells it: each write that took effect, in order.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from crewrelay.aws import rows
from crewrelay.jobs.job import Job, Status
from tests.support.aws import aws_client
from tests.support.fixtures import Storage


class Transition(NamedTuple):
    """A write to a JOB row; `before` is None for the first."""

    before: Job | None
    after: Job

    @property
    def ends(self) -> bool:
        return self.after.status.finished

    @property
    def takes_over(self) -> bool:
        """The lease of somebody who died, or was too slow, went to another."""
        return self.before is not None and self.before.status is Status.RUNNING and self.after.fence > self.before.fence

    @property
    def is_lawful(self) -> bool:
        """Nothing follows an end, and only the holder of the newest fence writes."""
        if self.before is None:
            return self.after.status is Status.PENDING and self.after.fence == 0
        return not self.before.status.finished and self.after.fence - self.before.fence in (0, 1)


class TableStream:
    """The stream of one table, from when this object is made."""

    def __init__(self, storage: Storage, emulator: str) -> None:
        self._client = aws_client("dynamodbstreams", emulator)
        specification: Any = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        table = storage.dynamodb.update_table(TableName=storage.table, StreamSpecification=specification)
        self._arn = table["TableDescription"]["LatestStreamArn"]

    def close(self) -> None:
        self._client.close()

    def transitions(self) -> dict[str, list[Transition]]:
        """By job id."""
        found: defaultdict[str, list[Transition]] = defaultdict(list)
        for record in self._records():
            old, new = record.get("OldImage"), record.get("NewImage")
            if new and new["sk"]["S"] == "JOB" and new != old:  # a repeat that changed nothing is no write
                after = rows.job_of(new)
                found[after.id].append(Transition(rows.job_of(old) if old else None, after))
        return found

    def _records(self) -> Iterator[Any]:
        for shard in self._client.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]:
            iterator = self._client.get_shard_iterator(
                StreamArn=self._arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while iterator:
                page = self._client.get_records(ShardIterator=iterator)
                yield from (record["dynamodb"] for record in page["Records"])
                iterator = page.get("NextShardIterator") if page["Records"] else None
