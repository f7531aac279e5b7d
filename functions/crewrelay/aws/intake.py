"""Messages of other systems: checked, and submitted under their messageId, so that a redelivery is the same job."""

import logging
from typing import TYPE_CHECKING

from pydantic import ValidationError

from crewrelay.aws.batch import Record
from crewrelay.aws.clients import unavailable_if_it_fails
from crewrelay.jobs.errors import IdempotencyConflict, InvalidRequest
from crewrelay.jobs.submission import Submission
from crewrelay.request import RunRequest, complaints

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = logging.getLogger(__name__)

_LONGEST_BODY = 50_000  # characters: with the reason it must fit a message of 256 KB, and no good one is as long


class Intake:
    def __init__(self, submission: Submission, tenant: str, client: "SQSClient", dlq_url: str) -> None:
        self._submission = submission
        self._tenant = tenant
        self._client = client
        self._dlq_url = dlq_url

    def take(self, record: Record) -> None:
        """Submit the message, or put it into the dead-letter queue with the reason: no redelivery would mend it.

        Raises Unavailable: then the queue delivers it again.
        """
        try:
            request = _parse(record["body"])
            self._submission.submit(self._tenant, request.job_input(), key=f"intake:{record['messageId']}")
        except (InvalidRequest, IdempotencyConflict) as refusal:
            self._refuse(record, refusal)

    def _refuse(self, record: Record, refusal: InvalidRequest | IdempotencyConflict) -> None:
        logger.warning("refused: %s", refusal.code, extra={"message_id": record["messageId"]})
        attributes = {"code": refusal.code, "reason": _printable(str(refusal)), "message_id": record["messageId"]}
        with unavailable_if_it_fails("dead-letter queue"):
            self._client.send_message(
                QueueUrl=self._dlq_url,
                MessageBody=record["body"][:_LONGEST_BODY],
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )


def _parse(body: str) -> RunRequest:
    try:
        return RunRequest.model_validate_json(body)
    except ValidationError as error:
        faults = "; ".join(f"{fault['field'] or 'body'}: {fault['message']}" for fault in complaints(error))
        raise InvalidRequest(faults[:1000]) from None


def _printable(text: str) -> str:
    """SQS refuses control characters, and a message may have them in the names of its fields."""
    return "".join(character if character.isprintable() else "?" for character in text)
