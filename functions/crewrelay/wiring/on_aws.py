"""The engine on AWS or an emulator: DynamoDB, SQS, S3."""

from crewrelay.aws.batches import DynamoBatches
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import dynamodb, s3, sqs
from crewrelay.aws.dead_letters import SqsDeadLetters
from crewrelay.aws.polling import Polling
from crewrelay.aws.queue import SqsQueue
from crewrelay.aws.signing import DynamoSigningSecrets
from crewrelay.aws.store import DynamoJobStore
from crewrelay.aws.subscriptions import DynamoSubscriptions
from crewrelay.aws.tokens import DynamoTokens
from crewrelay.aws.uploads import S3Uploads, UploadBells
from crewrelay.settings import JobSettings, StoreSettings, UploadSettings
from crewrelay.system import utcnow


def job_store(settings: JobSettings) -> DynamoJobStore:
    return DynamoJobStore(dynamodb(), settings.table, utcnow, Bodies(s3, settings.bucket))


def doorbell(settings: JobSettings) -> SqsQueue:
    return SqsQueue(sqs(), settings.queue_url)


def intake_queue(settings: JobSettings, queue_url: str) -> SqsQueue:
    return SqsQueue(sqs(), queue_url)


def wake(settings: StoreSettings) -> None:
    pass  # SQS wakes who waits


def changes(settings: StoreSettings) -> Polling:
    return Polling()


def batches(settings: StoreSettings) -> DynamoBatches:
    return DynamoBatches(dynamodb(), settings.table, utcnow)


def uploads(settings: JobSettings) -> S3Uploads:
    return S3Uploads(s3, settings.bucket, utcnow)


def upload_bells(settings: UploadSettings) -> UploadBells:
    return UploadBells(SqsQueue(sqs(), settings.intake_queue_url))


def due_uploads(settings: JobSettings) -> None:
    return None


def dead_letters(settings: JobSettings, queue_url: str) -> SqsDeadLetters:
    return SqsDeadLetters(sqs(), queue_url)


def notifier_bell(settings: JobSettings) -> SqsQueue:
    return SqsQueue(sqs(), settings.notify_queue_url)


def subscriptions(settings: StoreSettings) -> DynamoSubscriptions:
    return DynamoSubscriptions(dynamodb(), settings.table, utcnow)


def signing_secrets(settings: StoreSettings) -> DynamoSigningSecrets:
    return DynamoSigningSecrets(dynamodb(), settings.table)


def tokens(settings: StoreSettings) -> DynamoTokens:
    return DynamoTokens(dynamodb(), settings.table, utcnow)
