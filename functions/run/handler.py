"""The run function: POST /crewai/run, the crew inline."""

from datetime import timedelta

from crewrelay import cold_start
from crewrelay.http.edge import lambda_handler, with_cors
from crewrelay.http.run import InlineRuns, create_run
from crewrelay.jobs.submission import Submission
from crewrelay.settings import CallerSettings
from crewrelay.system import new_id, utcnow
from crewrelay.wiring import crews, jobs
from crewrelay.wiring.logs import configure_logs

configure_logs()
settings = CallerSettings.read()
store, doorbell = jobs.job_store(settings), jobs.doorbell(settings)
submission = Submission(store, doorbell, utcnow, new_id, settings.policy(), settings.max_unfinished)
timeout, grace = timedelta(seconds=settings.timeout), timedelta(seconds=settings.grace)
inline = InlineRuns(submission, crews.execution(settings, store, doorbell), store, utcnow, timeout, grace)
app = with_cors(settings.cors_origin, create_run(inline, settings.anonymous()))
handler = lambda_handler(app)
cold_start.over()
