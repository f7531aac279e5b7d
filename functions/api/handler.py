"""The API function: submit, status, calls, cancel, retry. Light: never imports CrewAI, Haystack or numpy."""

from crewrelay import cold_start
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import dynamodb, s3, sqs
from crewrelay.aws.doorbell import SqsDoorbell
from crewrelay.aws.meter import EmfMeter
from crewrelay.aws.store import DynamoJobStore
from crewrelay.http.api import create_api
from crewrelay.http.edge import lambda_handler, open_to
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.submission import Submission
from crewrelay.settings import CallerSettings
from crewrelay.system import new_id, utcnow

settings = CallerSettings.read()
store = ObservedStore(DynamoJobStore(dynamodb(), settings.table, utcnow, Bodies(s3, settings.bucket)), EmfMeter())
doorbell = SqsDoorbell(sqs(), settings.queue_url)
submission = Submission(store, doorbell, utcnow, new_id, settings.policy(), settings.max_unfinished)
intervention = Intervention(store, doorbell, utcnow, settings.policy(), settings.max_unfinished)
app = open_to(settings.cors_origin, create_api(submission, intervention, store, settings.anonymous()))
handler = lambda_handler(app)
cold_start.over()
