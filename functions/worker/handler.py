"""The worker function: SQS batches of job ids, several crews at once."""

from typing import Any

from crewrelay import cold_start
from crewrelay.events.batch import BatchResponse, answer_batch, last_moment
from crewrelay.events.bells import Bells
from crewrelay.logs import by_request
from crewrelay.settings import WorkerSettings
from crewrelay.system import this_process, utcnow
from crewrelay.wiring import crews, jobs
from crewrelay.wiring.logs import configure_logs

configure_logs()
settings = WorkerSettings.read()
doorbell = jobs.doorbell(settings)
execution = crews.execution(settings, jobs.job_store(settings), doorbell)
bells = Bells(execution, jobs.dead_letters(settings, settings.dlq_url))
cold_start.over()


@by_request
def handler(event: dict[str, Any], context: Any) -> BatchResponse:
    now = utcnow()
    deadline = last_moment(context, now)
    half = now + (deadline - now) / 2  # a job taken later would soon be relayed
    return answer_batch(
        event,
        lambda record: bells.answer(record, deadline),
        backlog=doorbell,
        is_open=lambda: this_process.takes_jobs and utcnow() < half,
    )
