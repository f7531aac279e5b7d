"""Intake queue: validates messages of other systems and submits them; the messageId is the idempotency key."""

from pydantic import ValidationError

from crewrelay.catalogue import request
from crewrelay.catalogue.request import CrewRequest, TopicRequest, complaints
from crewrelay.events.records import DeadLetters, Record, first_id
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.errors import ForeignCollection, IdempotencyConflict, InvalidRequest
from crewrelay.jobs.log_keys import correlation_id_of, logged_with
from crewrelay.jobs.submission import Submission, message_key


class Intake:
    def __init__(self, submission: Submission, tenant: str, dead_letters: DeadLetters, public_url: str = "") -> None:
        self._submission = submission
        self._caller = Caller(tenant=tenant, scopes=frozenset({Scope.RUN}))
        self._dead_letters = dead_letters
        self._public_url = public_url

    def take(self, record: Record) -> None:
        """Submit the message; an invalid one goes to the dead-letter queue with the reason.

        Raises Unavailable: SQS then delivers it again.
        """
        try:
            asked, message_id = parse(record["body"]), first_id(record)
            with logged_with(correlation_id=correlation_id_of(message_id)):
                job_input = self._caller.permitted(asked.job_input()).reached_at(self._public_url)
                self._submission.submit(self._caller.tenant, job_input, message_key(message_id))
        except (InvalidRequest, ForeignCollection, IdempotencyConflict) as refusal:
            self._dead_letters.put(record, refusal)


def parse(body: str) -> TopicRequest | CrewRequest:
    """Raises InvalidRequest."""
    try:
        return request.parse(body)
    except ValidationError as error:
        faults = "; ".join(f"{fault['field'] or 'body'}: {fault['message']}" for fault in complaints(error))
        raise InvalidRequest(faults[:1000]) from None
