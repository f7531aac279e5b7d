"""The API function: submit and status. Light: never imports CrewAI, Haystack or numpy."""

from crewrelay import cold_start
from crewrelay.aws.clients import dynamodb, sqs
from crewrelay.aws.doorbell import SqsDoorbell
from crewrelay.aws.store import DynamoJobStore
from crewrelay.http.api import create_api
from crewrelay.http.edge import lambda_handler
from crewrelay.jobs.submission import Submission
from crewrelay.settings import JobSettings
from crewrelay.system import new_id, utcnow

settings = JobSettings.read()
store = DynamoJobStore(dynamodb(), settings.table, utcnow)
doorbell = SqsDoorbell(sqs(), settings.queue_url)
app = create_api(Submission(store, doorbell, utcnow, new_id, settings.policy()), store, settings.tenant)
handler = lambda_handler(app)
cold_start.over()
