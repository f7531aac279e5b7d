"""The notifier function: delivers what jobs owe to webhooks. Light: never imports CrewAI."""

from typing import Any

from crewrelay import cold_start
from crewrelay.events.batch import BatchResponse, answer_batch, last_moment
from crewrelay.events.bells import Notices
from crewrelay.logs import by_request
from crewrelay.settings import NotifierSettings
from crewrelay.system import utcnow
from crewrelay.wiring import jobs
from crewrelay.wiring.logs import configure_logs

configure_logs()
settings = NotifierSettings.read()
bell = jobs.notifier_bell(settings)
notices = Notices(jobs.notifier(settings), jobs.dead_letters(settings, settings.notify_dlq_url))
cold_start.over()


@by_request
def handler(event: dict[str, Any], context: Any) -> BatchResponse:
    now = utcnow()
    deadline = last_moment(context, now)
    half = now + (deadline - now) / 2  # the batch is over with the slowest delivery, the others need not wait for it
    return answer_batch(
        event, lambda record: notices.answer(record, deadline), backlog=bell, is_open=lambda: utcnow() < half
    )
