"""GET /crewai/jobs: the caller's jobs, newest first."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, BeforeValidator

from crewrelay.http.callers import Reader
from crewrelay.http.document import operation_id, problems
from crewrelay.http.wire import Timestamps
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.listing import Filter, Page, cursor_of, page_of, position_of
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records.batch import MOST_ITEMS
from crewrelay.jobs.records.job import Failure, Job, Status

MOST_JOBS = 100  # of a page
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)


class JobSummary(BaseModel):
    """A job of a list: its state, without inputs and result. `title` is its topic or, without one, the first text of
    its inputs, in one line of 80 characters at most.
    """

    job_id: str
    status: Status
    batch: str | None
    crew: str
    title: str
    attempts: int
    error: Failure | None
    timestamps: Timestamps

    @classmethod
    def of(cls, job: Job, title: str) -> "JobSummary":
        return cls(
            job_id=job.id,
            status=job.status,
            batch=job.batch,
            crew=job.crew,
            title=title,
            attempts=job.attempts,
            error=job.error,
            timestamps=Timestamps.model_validate(job, from_attributes=True),
        )


class Jobs(BaseModel):
    """A page of jobs, newest first. `next_cursor` is null at the end. A page may have fewer jobs than were asked for,
    even none, and a next one all the same.
    """

    jobs: list[JobSummary]
    next_cursor: str | None

    @classmethod
    def of(cls, tenant: str, page: Page, store: JobStore) -> "Jobs":
        after = None if page.after is None else cursor_of(tenant, page.after)
        titles = store.titles([job.id for job in page.jobs], tenant) if page.jobs else {}
        return cls(jobs=[JobSummary.of(job, titles.get(job.id, "")) for job in page.jobs], next_cursor=after)


def _rfc3339(value: Any) -> Any:
    """Pydantic would take seconds, too."""
    if isinstance(value, str) and not _TIME.fullmatch(value):
        raise ValueError("must be a time with a zone, like 2026-01-02T03:04:05Z")
    return value


CreatedAfter = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]


def listing_routes(store: JobStore, batches: Batches) -> APIRouter:
    router = APIRouter(generate_unique_id_function=operation_id)

    @router.get("/crewai/jobs", responses=problems(404, 422, 503), tags=["jobs"])
    def jobs(
        caller: Reader,
        status: Annotated[Status | None, Query(description="Only jobs in this state.")] = None,
        crew: Annotated[str | None, Query(description="Only jobs of this crew.")] = None,
        batch: Annotated[str | None, Query(description="Only jobs of this batch.")] = None,
        created_after: Annotated[CreatedAfter | None, Query(description="Only jobs submitted after this time.")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_JOBS)] = 50,
        cursor: Annotated[str | None, Query(description="The `next_cursor` of the page before.")] = None,
    ) -> Jobs:
        """The jobs of the token's tenant, newest first. Jobs submitted meanwhile move no page."""
        after = None if cursor is None else position_of(caller.tenant, cursor)
        wanted = Filter(status, crew, created_after)
        if batch is None:
            return Jobs.of(caller.tenant, store.listed(caller.tenant, wanted, after, limit), store)
        whole = batches.of_tenant(caller.tenant, batch)
        if whole.total > MOST_ITEMS:
            raise InvalidRequest(f"batch: has over {MOST_ITEMS:,} items: read its counts and its results")
        found = batches.jobs(whole)
        return Jobs.of(caller.tenant, page_of(found, wanted, after, limit), store)

    return router
