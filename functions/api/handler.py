"""The API function: all routes but /crewai/run. Light: never imports CrewAI, Haystack or numpy."""

from datetime import timedelta

from crewrelay import cold_start
from crewrelay.http.api import create_api
from crewrelay.http.edge import lambda_handler, with_cors
from crewrelay.http.long_poll import LongPoll
from crewrelay.http.services import Services
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.submission import Submission
from crewrelay.settings import ApiSettings
from crewrelay.system import new_id, utcnow
from crewrelay.wiring import jobs
from crewrelay.wiring.logs import configure_logs

configure_logs()
settings = ApiSettings.read()
store, doorbell = jobs.job_store(settings), jobs.doorbell(settings)
submission = Submission(store, doorbell, utcnow, new_id, settings.policy(), settings.max_unfinished)
kept, deliveries = jobs.batches(settings), jobs.deliveries(settings, store)
intervention = Intervention(store, doorbell, utcnow, settings.policy(), settings.max_unfinished, kept, deliveries)
long_poll = LongPoll(jobs.changes(settings), utcnow, timedelta(seconds=settings.timeout))
bells, files = jobs.upload_bells(settings), jobs.uploads(settings)
notices = jobs.notifier_bell(settings)
batches = Batches(store, kept, files, submission, intervention, bells, utcnow, new_id, settings.policy(), notices)
secrets = jobs.signing_secrets(settings)
services = Services(submission, intervention, store, batches, long_poll, deliveries, secrets)
api = create_api(services, settings.anonymous(), settings.mounted)
app = with_cors(settings.cors_origin, api)
handler = lambda_handler(app)
cold_start.over()
