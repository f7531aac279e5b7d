"""Messages of the queues whose whole body is a job id: a bell, answered by running the job; a notice, by delivering
what the job owes.
"""

import uuid
from datetime import datetime, timedelta

from crewrelay.events.records import DeadLetters, Record
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.running.execution import Execution
from crewrelay.jobs.webhooks.notifier import Notifier

_GRACE = timedelta(seconds=3)  # for a crew to stop at the deadline; part of _HAND_BACK_TIME in batch.py


class Bells:
    def __init__(self, execution: Execution, dead_letters: DeadLetters) -> None:
        self._execution = execution
        self._dead_letters = dead_letters

    def answer(self, record: Record, deadline: datetime) -> None:
        """Run the job; a message that is no bell goes to the dead-letter queue. Raises Unavailable."""
        if job_id := _job_of(record, self._dead_letters):
            self._execution.run(job_id, deadline, first_call_is_free=True, grace=_GRACE)


class Notices:
    def __init__(self, notifier: Notifier, dead_letters: DeadLetters) -> None:
        self._notifier = notifier
        self._dead_letters = dead_letters

    def answer(self, record: Record, deadline: datetime) -> None:
        """Deliver what the job owes; a message that is no notice goes to the dead-letter queue. Raises Unavailable."""
        if job_id := _job_of(record, self._dead_letters):
            self._notifier.notify(job_id, deadline)


def _job_of(record: Record, dead_letters: DeadLetters) -> str | None:
    """None if the message names no job: it is a dead letter then."""
    try:
        return job_id_of(record["body"])
    except InvalidRequest as refusal:
        dead_letters.put(record, refusal)
        return None


def job_id_of(body: str) -> str:
    """The job id, which is the whole body. Raises InvalidRequest if it is anything else."""
    try:
        return str(uuid.UUID(body.strip()))
    except ValueError:
        raise InvalidRequest("The body is not the id of a job.") from None
