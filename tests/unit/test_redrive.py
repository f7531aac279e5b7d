"""Bringing messages back from a dead-letter queue: none is lost on the way, and none starts anything twice."""

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from crewrelay.aws.dead_letters import SqsDeadLetters, redrive, strings
from crewrelay.events.bells import job_id_of
from crewrelay.events.intake import Intake, parse
from crewrelay.events.records import MESSAGE_ID
from crewrelay.jobs.errors import Unavailable
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.submission import Submission
from crewrelay.testing import MemoryDoorbell, MemoryJobStore
from tests.support.fixtures import HandSetClock

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

GOOD = json.dumps({"topic": "neural networks", "language": "en"})
JOB_ID = "36b4b886-0181-55ca-8d88-154ae32e4136"


class Queues:
    """A dead-letter queue, and the queue that its messages came from; out of order, that one refuses them."""

    def __init__(self, *dead: dict[str, Any]) -> None:
        self.dead = list(dead)
        self.sent: list[dict[str, Any]] = []
        self.out_of_order = False

    def receive_message(self, **_: Any) -> dict[str, Any]:
        return {"Messages": self.dead[:10]}

    def send_message(self, **message: Any) -> None:
        if self.out_of_order:
            raise ClientError({"Error": {"Code": "ServiceUnavailable"}}, "SendMessage")
        self.sent.append(message)

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        self.dead = [message for message in self.dead if message["ReceiptHandle"] != ReceiptHandle]


def message(body: str, message_id: str, first_id: str | None = None) -> dict[str, Any]:
    attributes = {"MessageAttributes": strings({MESSAGE_ID: first_id})} if first_id else {}
    received = {"MessageId": message_id, "ReceiptHandle": f"handle of {message_id}", "MD5OfBody": ""}
    return {"Body": body, **received, **attributes}


def client(queues: Queues) -> "SQSClient":
    return cast("SQSClient", queues)


def test_a_message_that_the_queue_refuses_stays_in_the_dead_letter_queue() -> None:
    queues = Queues(message(JOB_ID, "m-1"))
    queues.out_of_order = True
    with pytest.raises(Unavailable):
        redrive(client(queues), "dlq", "queue", job_id_of)
    assert [dead["MessageId"] for dead in queues.dead] == ["m-1"]
    queues.out_of_order = False
    assert redrive(client(queues), "dlq", "queue", job_id_of) == (1, 0)
    assert (queues.dead, [sent["MessageBody"] for sent in queues.sent]) == ([], [JOB_ID])


@pytest.mark.parametrize("first_id", [None, "m-0"], ids=["at first", "once more"])
def test_a_copy_is_the_job_of_the_message_that_it_was_made_from(clock: HandSetClock, first_id: str | None) -> None:
    store = MemoryJobStore(clock)
    submission = Submission(store, MemoryDoorbell(), clock, lambda: "a new id", Policy())
    queues = Queues(message(GOOD, "m-1", first_id))
    intake = Intake(submission, "acme", SqsDeadLetters(client(queues), "dlq"))
    intake.take({"body": GOOD, "messageId": first_id or "m-1"})
    redrive(client(queues), "dlq", "queue", parse)
    [sent] = queues.sent
    attributes = {name: {"stringValue": each["StringValue"]} for name, each in sent["MessageAttributes"].items()}
    intake.take({"body": sent["MessageBody"], "messageId": "of the copy", "messageAttributes": attributes})
    assert len(list(store.due(Status.PENDING, clock() + timedelta(hours=1)))) == 1
