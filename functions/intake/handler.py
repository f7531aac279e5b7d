"""The intake function: {topic, language, crew?} messages of other systems become jobs."""

from typing import Any

from crewrelay import cold_start
from crewrelay.aws.batch import BatchResponse, answer_batch
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import dynamodb, s3, sqs
from crewrelay.aws.dead_letters import DeadLetters
from crewrelay.aws.doorbell import SqsDoorbell
from crewrelay.aws.intake import Intake
from crewrelay.aws.meter import EmfMeter
from crewrelay.aws.store import DynamoJobStore
from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.submission import Submission
from crewrelay.logs import by_request
from crewrelay.settings import IntakeSettings
from crewrelay.system import new_id, utcnow

settings = IntakeSettings.read()
store = ObservedStore(DynamoJobStore(dynamodb(), settings.table, utcnow, Bodies(s3, settings.bucket)), EmfMeter())
doorbell = SqsDoorbell(sqs(), settings.queue_url)
submission = Submission(store, doorbell, utcnow, new_id, settings.policy())
intake = Intake(submission, settings.tenant, DeadLetters(sqs(), settings.intake_dlq_url))
cold_start.over()


@by_request
def handler(event: dict[str, Any], context: Any) -> BatchResponse:
    return answer_batch(event, intake.take)
