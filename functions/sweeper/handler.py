"""The sweeper function, on a schedule: rings for overdue jobs. Light: never imports CrewAI."""

from typing import Any

from crewrelay import cold_start
from crewrelay.events.batch import last_moment
from crewrelay.jobs.batches.uploads import late, ring_for_due
from crewrelay.jobs.ports import Measure
from crewrelay.jobs.sweeper import Sweeper, Swept
from crewrelay.logs import by_request
from crewrelay.settings import UploadSettings
from crewrelay.system import utcnow
from crewrelay.wiring import jobs
from crewrelay.wiring.logs import configure_logs

configure_logs()
settings = UploadSettings.read()
store = jobs.job_store(settings)
batches, upload_bells = jobs.batches(settings), jobs.upload_bells(settings)
deliveries = jobs.deliveries(settings, store)
sweeper = Sweeper(store, jobs.doorbell(settings), utcnow, settings.policy())
cold_start.over()


@by_request
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    deadline = last_moment(context, utcnow())
    rung = ring_for_due(batches, upload_bells, utcnow() - settings.policy().skew)
    deliveries.ring_for_due(deadline)
    swept = sweeper.sweep(deadline)
    uploads_late = late(batches, utcnow()) if rung else 0
    jobs.meter.record({Measure.SWEEPS: 1, Measure.RUNG: swept[Swept.RUNG], Measure.UPLOADS_LATE: uploads_late})
    return {what.value: count for what, count in swept.items()}
