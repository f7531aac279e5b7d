"""The sweeper function, on a schedule: rings for whatever is overdue. Light: never imports CrewAI."""

from typing import Any

from crewrelay import cold_start
from crewrelay.aws.batch import last_moment
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import dynamodb, s3, sqs
from crewrelay.aws.doorbell import SqsDoorbell
from crewrelay.aws.meter import EmfMeter
from crewrelay.aws.store import DynamoJobStore
from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.ports import Measure
from crewrelay.jobs.sweeper import Sweeper, Swept
from crewrelay.logs import by_request
from crewrelay.settings import JobSettings
from crewrelay.system import utcnow

settings = JobSettings.read()
meter = EmfMeter()
store = ObservedStore(DynamoJobStore(dynamodb(), settings.table, utcnow, Bodies(s3, settings.bucket)), meter)
sweeper = Sweeper(store, SqsDoorbell(sqs(), settings.queue_url), utcnow, settings.policy())
cold_start.over()


@by_request
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    swept = sweeper.sweep(last_moment(context, utcnow()))
    meter.record({Measure.SWEEPS: 1, Measure.RUNG: swept[Swept.RUNG]})
    return {what.value: count for what, count in swept.items()}
