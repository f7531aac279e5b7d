"""The worker function: SQS batches of job ids, several crews at once."""

from typing import Any

from crewrelay import cold_start
from crewrelay.aws.batch import BatchResponse, answer_batch, job_id_of, last_moment
from crewrelay.aws.clients import dynamodb, sqs
from crewrelay.aws.doorbell import SqsDoorbell
from crewrelay.aws.store import DynamoJobStore
from crewrelay.crews.runner import crew_runner
from crewrelay.jobs.execution import Execution
from crewrelay.settings import JobSettings
from crewrelay.system import new_id, utcnow

settings = JobSettings.read()
store = DynamoJobStore(dynamodb(), settings.table, utcnow)
doorbell = SqsDoorbell(sqs(), settings.queue_url)
execution = Execution(store, doorbell, crew_runner(), utcnow, new_id, settings.policy())
cold_start.over()


def handler(event: dict[str, Any], context: Any) -> BatchResponse:
    deadline = last_moment(context, utcnow())
    return answer_batch(event, lambda record: execution.run(job_id_of(record), deadline))
