"""The run function: POST /crewai/run, the crew inline."""

from datetime import timedelta
from random import random

from crewrelay import cold_start
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import dynamodb, s3, sqs
from crewrelay.aws.doorbell import SqsDoorbell
from crewrelay.aws.meter import EmfMeter
from crewrelay.aws.store import DynamoJobStore
from crewrelay.crews.runner import crew_runner
from crewrelay.http.edge import lambda_handler, open_to
from crewrelay.http.run import InlineRuns, create_run
from crewrelay.jobs.execution import Execution
from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.submission import Submission
from crewrelay.settings import RunSettings
from crewrelay.system import new_id, this_process, utcnow

settings = RunSettings.read()
store = ObservedStore(DynamoJobStore(dynamodb(), settings.table, utcnow, Bodies(s3, settings.bucket)), EmfMeter())
doorbell = SqsDoorbell(sqs(), settings.queue_url)
submission = Submission(store, doorbell, utcnow, new_id, settings.policy(), settings.max_unfinished)
execution = Execution(store, doorbell, crew_runner(), utcnow, new_id, random, settings.policy(), process=this_process)
patience, grace = timedelta(seconds=settings.patience), timedelta(seconds=settings.grace)
inline = InlineRuns(submission, execution, store, utcnow, patience, grace)
app = open_to(settings.cors_origin, create_run(inline, settings.anonymous()))
handler = lambda_handler(app)
cold_start.over()
