"""The intake function: {topic, language, crew?} messages of other systems become jobs."""

from typing import Any

from crewrelay import cold_start
from crewrelay.events.batch import BatchResponse, answer_batch
from crewrelay.events.intake import Intake
from crewrelay.jobs.submission import Submission
from crewrelay.logs import by_request
from crewrelay.settings import IntakeSettings
from crewrelay.system import new_id, utcnow
from crewrelay.wiring import jobs
from crewrelay.wiring.logs import configure_logs

configure_logs()
settings = IntakeSettings.read()
submission = Submission(jobs.job_store(settings), jobs.doorbell(settings), utcnow, new_id, settings.policy())
dead_letters = jobs.dead_letters(settings, settings.intake_dlq_url)
intake = Intake(submission, settings.tenant, dead_letters, settings.public_url)
cold_start.over()


@by_request
def handler(event: dict[str, Any], context: Any) -> BatchResponse:
    return answer_batch(event, intake.take)
