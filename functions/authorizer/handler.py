"""The Lambda authorizer: bearer token to tenant and scopes. Light: one read of the table."""

from typing import Any

from crewrelay import cold_start
from crewrelay.events.authorizer import Authorizer
from crewrelay.logs import by_request
from crewrelay.settings import StoreSettings
from crewrelay.system import utcnow
from crewrelay.wiring import jobs
from crewrelay.wiring.logs import configure_logs

configure_logs()
authorizer = Authorizer(jobs.tokens(StoreSettings.read()), utcnow)
cold_start.over()


@by_request
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return authorizer.answer(event)
