"""The intake function: {topic, language, crew?} messages of other systems become jobs, and lines of uploads do."""

from datetime import timedelta
from functools import partial
from typing import Any

from crewrelay import cold_start
from crewrelay.catalogue.drafts import read_line
from crewrelay.events.batch import BatchResponse, answer_batch, last_moment
from crewrelay.events.intake import Intake
from crewrelay.events.records import Record
from crewrelay.events.upload_bells import batch_of
from crewrelay.jobs.batches.uploads import Uploads
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.submission import Submission
from crewrelay.logs import by_request
from crewrelay.settings import IntakeSettings
from crewrelay.system import new_id, utcnow
from crewrelay.wiring import jobs
from crewrelay.wiring.logs import configure_logs

configure_logs()
settings = IntakeSettings.read()
store, doorbell, policy = jobs.job_store(settings), jobs.doorbell(settings), settings.policy()
uploads = Uploads(
    store,
    jobs.batches(settings),
    jobs.uploads(settings),
    Submission(store, doorbell, utcnow, new_id, policy, settings.max_unfinished),
    Intervention(store, doorbell, utcnow, policy),
    jobs.upload_bells(settings),
    utcnow,
    policy,
    partial(read_line, public_url=settings.public_url),
    pause=timedelta(seconds=1 if settings.data else 5),  # each look is an invocation on AWS
)
messages = Submission(store, doorbell, utcnow, new_id, policy)
dead_letters = jobs.dead_letters(settings, settings.intake_dlq_url)
intake = Intake(messages, settings.tenant, dead_letters, settings.public_url)
cold_start.over()


@by_request
def handler(event: dict[str, Any], context: Any) -> BatchResponse:
    deadline = last_moment(context, utcnow())

    def handle(record: Record) -> None:
        if batch_id := batch_of(record["body"]):
            uploads.answer(batch_id, deadline)
        else:
            intake.take(record)

    return answer_batch(event, handle)
