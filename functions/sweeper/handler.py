"""The sweeper function, on a schedule: rings for whatever is overdue. Light: never imports CrewAI."""

from typing import Any

from crewrelay import cold_start
from crewrelay.aws.batch import last_moment
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import dynamodb, s3, sqs
from crewrelay.aws.doorbell import SqsDoorbell
from crewrelay.aws.store import DynamoJobStore
from crewrelay.jobs.sweeper import Sweeper
from crewrelay.settings import JobSettings
from crewrelay.system import utcnow

settings = JobSettings.read()
store = DynamoJobStore(dynamodb(), settings.table, utcnow, Bodies(s3, settings.bucket))
sweeper = Sweeper(store, SqsDoorbell(sqs(), settings.queue_url), utcnow, settings.policy())
cold_start.over()


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    swept = sweeper.sweep(last_moment(context, utcnow()))
    return {what.value: count for what, count in swept.items()}
