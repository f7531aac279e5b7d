"""Builds the job store, doorbell and queues on AWS or an emulator. Other engines will be chosen here."""

from collections.abc import Callable

from crewrelay.aws.backlog import SqsBacklog
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import dynamodb, s3, sqs
from crewrelay.aws.dead_letters import DeadLetters
from crewrelay.aws.doorbell import SqsDoorbell
from crewrelay.aws.meter import EmfMeter
from crewrelay.aws.store import DynamoJobStore
from crewrelay.jobs.observed import ObservedStore
from crewrelay.settings import JobSettings
from crewrelay.system import utcnow

meter = EmfMeter()


def job_store(settings: JobSettings) -> ObservedStore:
    return ObservedStore(DynamoJobStore(dynamodb(), settings.table, utcnow, Bodies(s3, settings.bucket)), meter)


def doorbell(settings: JobSettings) -> SqsDoorbell:
    return SqsDoorbell(sqs(), settings.queue_url)


def backlog(settings: JobSettings, is_open: Callable[[], bool]) -> SqsBacklog:
    return SqsBacklog(sqs(), settings.queue_url, is_open)


def dead_letters(queue_url: str) -> DeadLetters:
    return DeadLetters(sqs(), queue_url)
