"""DynamoDB and SQS, in an emulator, as an engine to be broken: transitions by the table's own stream, faults by
botocore's own hooks.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from io import BytesIO
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders
from botocore.exceptions import ReadTimeoutError

from crewrelay.aws import clients, rows
from crewrelay.aws.queue import SqsQueue
from crewrelay.aws.store import DynamoJobStore
from crewrelay.jobs.ports import Clock
from crewrelay.local.credentials import REGION
from crewrelay.local.resources import environment, load_template
from crewrelay.local.stack import TEMPLATE
from tests.faults.engines import Dead
from tests.faults.injection import Fate, Faults, Write, die
from tests.faults.transitions import Transition
from tests.support.aws import TESTS, aws_client
from tests.support.fixtures import Storage


class OnAws:
    name = "DynamoDB and SQS"
    tries = 3

    def __init__(self, storage: Storage, emulator: str) -> None:
        self.storage = storage
        self.doorbell = SqsQueue(storage.sqs, storage.queue_url)
        self._stream = _TableStream(storage, emulator)
        names = {
            "JobsTable": storage.table,
            "BodiesBucket": storage.bucket,
            "JobQueue": storage.queue_url,
            "JobDeadLetterQueue": storage.dlq_url,
            "IntakeQueue": storage.intake_queue_url,
            "NotifyQueue": storage.notify_queue_url,
        }
        template = load_template(TEMPLATE)
        self.variables: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": emulator,
            "AWS_DEFAULT_REGION": REGION,
            "CREWRELAY_DATA": "",  # as on the stack: or jobs would be kept there
            **TESTS.variables,
            **environment(template, "SweeperFunction", names),
            **environment(template, "WorkerFunction", names),
        }

    def store(self, clock: Clock) -> DynamoJobStore:
        return self.storage.store(clock)

    def job_ids(self) -> list[str]:
        return [rows.job_id(row) for row in self.rows() if row["sk"]["S"] == "JOB"]

    def rows(self) -> list[Any]:
        return self.storage.rows()

    def bells(self) -> list[str]:
        return [message["Body"] for message in self.storage.messages(self.storage.queue_url)]

    def count_bells(self) -> int:
        told: Any = self.storage.sqs.get_queue_attributes(QueueUrl=self.storage.queue_url, AttributeNames=["All"])
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(told["Attributes"][name]) for name in counts)

    def dead_letters(self) -> list[Dead]:
        messages = self.storage.messages(self.storage.dlq_url)
        return [Dead(each["Body"], each["MessageAttributes"]["code"]["StringValue"]) for each in messages]

    def transitions(self) -> dict[str, list[Transition]]:
        return self._stream.transitions()

    def renew_clients(self) -> None:
        for client in (clients.dynamodb, clients.sqs, clients.s3):
            if client.cache_info().currsize:  # that of an earlier test
                client().close()
            client.cache_clear()

    def close(self) -> None:
        self._stream.close()


class _TableStream:
    """The stream of one table, from when this object is made.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
    """

    def __init__(self, storage: Storage, emulator: str) -> None:
        self._client = aws_client("dynamodbstreams", emulator)
        specification: Any = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        table = storage.dynamodb.update_table(TableName=storage.table, StreamSpecification=specification)
        self._arn = table["TableDescription"]["LatestStreamArn"]

    def close(self) -> None:
        self._client.close()

    def transitions(self) -> dict[str, list[Transition]]:
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


def put_into_functions(faults: Faults) -> None:
    for client in (clients.dynamodb(), clients.sqs()):
        put_into(client, faults)


def put_into(client: Any, faults: Faults) -> None:
    client.meta.events.register("before-send", partial(_before_send, faults, client._endpoint.http_session))


def _before_send(
    faults: Faults, http: Any, request: AWSPreparedRequest, event_name: str, **_: Any
) -> AWSResponse | None:
    write = _write(request, event_name.rpartition(".")[2])
    fate = faults.fate_of(write) if write else None
    if fate is None:
        return None
    if fate in _REFUSALS:
        return _refused(request, _REFUSALS[fate])
    if fate in (Fate.REPLY_LOST, Fate.KILLED_AFTER):
        http.send(request)
    if fate in (Fate.KILLED_BEFORE, Fate.KILLED_AFTER):
        die()
    raise ReadTimeoutError(endpoint_url=request.url)


_WRITES = {"UpdateItem": Write.SAVE, "SendMessage": Write.RING, "DeleteMessageBatch": Write.DELETE}
_PUTS = {"INPUT": Write.INPUT, "JOB": Write.CREATE, "CALL": Write.PUT_CALL, "RESULT": Write.PUT_ANSWER}


def _write(request: AWSPreparedRequest, operation: str) -> Write | None:
    if operation != "PutItem":
        return _WRITES.get(operation)
    body: Any = request.body
    sort_key: str = json.loads(body)["Item"]["sk"]["S"]
    return _PUTS.get(sort_key.partition("#")[0])  # others may fail and change nothing


class _Raw(BytesIO):
    def stream(self, **_: Any) -> list[bytes]:
        return [self.read()]


_REFUSALS = {Fate.REFUSED: "ThrottlingException", Fate.CONFLICTED: "TransactionConflictException"}


def _refused(request: AWSPreparedRequest, code: str) -> AWSResponse:
    body = json.dumps({"__type": f"com.amazonaws#{code}", "message": "refused by a test"}).encode()
    return AWSResponse(request.url, 400, HTTPHeaders.from_dict({"x-amzn-errortype": code}), _Raw(body))
