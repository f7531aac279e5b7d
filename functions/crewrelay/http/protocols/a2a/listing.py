"""ListTasks over the list of the tenant's jobs, which knows neither contexts nor the time of a job's last change."""

from typing import NamedTuple

from crewrelay.http.protocols.a2a.requests import Listing
from crewrelay.http.protocols.a2a.tasks import STATES, WORKING, changed_at, context_of, state_of
from crewrelay.jobs.listing import Filter, Position, cursor_of, position_of
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records.job import Job

_MOST_READ = 1000  # jobs for a page
_READ = 100  # jobs at a time


class TaskPage(NamedTuple):
    """Some tasks, the last begun first, and the token of the next page; "" at the end. A page is of tasks that began
    before those of the page before, and may have fewer than were asked for, even none.
    """

    jobs: list[Job]
    token: str


def listed(store: JobStore, tenant: str, crew: str, asked: Listing) -> TaskPage:
    after = position_of(tenant, asked.page_token) if asked.page_token else None
    statuses = {state: status for status, state in STATES.items() if state != WORKING}  # some of those are pending
    wanted = Filter(statuses.get(asked.status or ""), crew)
    found: list[Job] = []
    for _ in range(0, _MOST_READ, _READ):
        page = store.listed(tenant, wanted, after, _READ)
        for number, job in enumerate(page.jobs, 1):
            if _fits(job, asked):
                found.append(job)
            if len(found) == asked.page_size:
                more = number < len(page.jobs) or page.after is not None
                return _page(tenant, found, Position.of(job) if more else None)
        after = page.after
        if after is None:
            break
    return _page(tenant, found, after)


def token_after(job: Job) -> str:
    return cursor_of(job.tenant, Position.of(job))


def _fits(job: Job, asked: Listing) -> bool:
    return asked.context_id in (None, "", context_of(job)) and asked.fits(state_of(job), changed_at(job))


def _page(tenant: str, jobs: list[Job], after: Position | None) -> TaskPage:
    token = "" if after is None else cursor_of(tenant, after)
    return TaskPage(jobs, token)
