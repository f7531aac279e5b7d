"""The worker function: SQS batches of job ids, several crews at once."""

from random import random
from typing import Any

from crewrelay import cold_start
from crewrelay.aws.backlog import SqsBacklog
from crewrelay.aws.batch import BatchResponse, answer_batch, last_moment
from crewrelay.aws.bells import Bells
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import dynamodb, s3, sqs
from crewrelay.aws.dead_letters import DeadLetters
from crewrelay.aws.doorbell import SqsDoorbell
from crewrelay.aws.meter import EmfMeter
from crewrelay.aws.store import DynamoJobStore
from crewrelay.crews.runner import crew_runner
from crewrelay.jobs.execution import Execution
from crewrelay.jobs.observed import ObservedStore
from crewrelay.logs import by_request
from crewrelay.settings import WorkerSettings
from crewrelay.system import new_id, this_process, utcnow

settings = WorkerSettings.read()
store = ObservedStore(DynamoJobStore(dynamodb(), settings.table, utcnow, Bodies(s3, settings.bucket)), EmfMeter())
doorbell = SqsDoorbell(sqs(), settings.queue_url)
execution = Execution(store, doorbell, crew_runner(), utcnow, new_id, random, settings.policy(), process=this_process)
bells = Bells(execution, DeadLetters(sqs(), settings.dlq_url))
cold_start.over()


@by_request
def handler(event: dict[str, Any], context: Any) -> BatchResponse:
    now = utcnow()
    deadline = last_moment(context, now)
    half = now + (deadline - now) / 2  # what is taken later has too little time before it is relayed
    backlog = SqsBacklog(sqs(), settings.queue_url, lambda: this_process.takes_jobs and utcnow() < half)
    return answer_batch(event, lambda record: bells.answer(record, deadline), backlog)
