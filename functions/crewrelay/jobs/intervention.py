"""What a caller may do to a job: cancel it, or try a failed one again."""

from collections.abc import Callable

from crewrelay.jobs import job as transitions
from crewrelay.jobs.cap import Cap
from crewrelay.jobs.errors import JobFinished, StaleWrite, Unavailable
from crewrelay.jobs.job import Job, Status
from crewrelay.jobs.policy import Policy
from crewrelay.jobs.ports import Clock, Doorbell, JobRecord, JobStore, record_of_tenant
from crewrelay.jobs.submission import ring

_TRIES = 5  # a job that is claimed, relayed and claimed again moves on under our hands


class Intervention:
    """`most_unfinished` is how many unfinished jobs a tenant may have; None is as many as it likes."""

    def __init__(
        self, store: JobStore, doorbell: Doorbell, clock: Clock, policy: Policy, most_unfinished: int | None = None
    ) -> None:
        self._store = store
        self._doorbell = doorbell
        self._clock = clock
        self._policy = policy
        self._cap = Cap(store, clock, most_unfinished)

    def cancel(self, tenant: str, job_id: str) -> JobRecord:
        """A pending job at once; a running one makes no further call. Once cancelled it stays so, asked again too.

        Raises UnknownJob, JobFinished, Unavailable.
        """

        def cancelled(job: Job) -> Job:
            if job.status is Status.CANCELLED:
                return job
            if job.status.finished:
                raise JobFinished(f"The job has already {job.status}: there is nothing to cancel.")
            return transitions.cancel(job, self._clock())

        return self._change(tenant, job_id, cancelled)

    def retry(self, tenant: str, job_id: str) -> JobRecord:
        """A failed job goes on from where its journal ends. One that is pending or running is left to go on.

        Raises UnknownJob, JobFinished, TooManyJobs, Unavailable.
        """

        def retried(job: Job) -> Job:
            if not job.status.finished:
                return job
            if job.status is not Status.FAILED:
                raise JobFinished(f"The job is {job.status}: only a failed one can be tried again.")
            if transitions.too_old(job, self._clock(), self._policy):
                raise JobFinished("The job is too old: it would expire before it had ended again.")
            if job.capped:
                self._cap.admit(tenant)
            return transitions.retry(job, self._clock(), self._policy)

        record = self._change(tenant, job_id, retried)
        if record.job.status is Status.PENDING:
            ring(self._doorbell, job_id)
        return record

    def _change(self, tenant: str, job_id: str, transition: Callable[[Job], Job]) -> JobRecord:
        for _ in range(_TRIES):
            record = record_of_tenant(self._store, tenant, job_id)
            changed = transition(record.job)
            if changed == record.job:
                return record
            try:
                self._store.save(record.job, changed)
            except StaleWrite:
                continue
            return record._replace(job=changed)
        raise Unavailable(f"Job {job_id} changes hands too fast.")
