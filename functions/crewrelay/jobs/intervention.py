"""What a caller may do to a job: cancel it, retry a failed one, answer a waiting one, delete one that has ended."""

from collections.abc import Callable

from crewrelay.jobs.cap import Cap
from crewrelay.jobs.errors import AlreadyAnswered, JobFinished, JobUnfinished, NotWaiting, StaleWrite, Unavailable
from crewrelay.jobs.ports import Clock, Doorbell, JobRecord, JobStore, job_of_tenant, record_of_tenant
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.batch import BatchStore
from crewrelay.jobs.records.event_log import logged, with_call
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.journal import Call, Kind
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import Feedback, human_call
from crewrelay.jobs.submission import ring
from crewrelay.jobs.webhooks.deliveries import Deliveries

_TRIES = 5  # optimistic writes: a claim or relay in between makes one fail


class Intervention:
    """`most_unfinished` is the limit of unfinished jobs per tenant; None is unlimited. `batches` note how jobs end,
    `deliveries` tell webhooks.
    """

    def __init__(
        self,
        store: JobStore,
        doorbell: Doorbell,
        clock: Clock,
        policy: Policy,
        most_unfinished: int | None = None,
        batches: BatchStore | None = None,
        deliveries: Deliveries | None = None,
    ) -> None:
        self._store = store
        self._doorbell = doorbell
        self._clock = clock
        self._policy = policy
        self._cap = Cap(store, clock, most_unfinished)
        self._batches = batches
        self._deliveries = deliveries

    def cancel(self, tenant: str, job_id: str) -> JobRecord:
        """Cancel a job: a running one makes no further call. Cancelling a cancelled job changes nothing.

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
        """Resume a failed job from where its journal ends. A pending or running job is left as it is.

        Raises UnknownJob, JobFinished, TooManyJobs, Unavailable.
        """

        def retried(job: Job) -> Job:
            if not job.status.finished:
                return job
            if job.status is not Status.FAILED:
                raise JobFinished(f"The job is {job.status}: only a failed job can be retried.")
            if transitions.too_old(job, self._clock(), self._policy):
                raise JobFinished("The job is too old: its row could expire before the retry ends.")
            if job.capped:
                self._cap.admit(tenant)
            self._reopen(job)
            if self._deliveries:
                self._deliveries.rearm(job)
            return transitions.retry(job, self._clock(), self._policy)

        record = self._change(tenant, job_id, retried)
        if record.job.status is Status.PENDING:
            ring(self._doorbell, job_id)
        return record

    def delete(self, tenant: str, job_id: str) -> None:
        """Delete a job that has ended: its row, input, journal and answer. Its idempotency key may be used again.

        Raises UnknownJob, JobUnfinished, Unavailable.
        """
        for _ in range(_TRIES):
            job = job_of_tenant(self._store, tenant, job_id)
            if not job.status.finished:
                raise JobUnfinished(f"The job is {job.status}: only a job that has ended can be deleted.")
            self._reopen(job)
            try:
                return self._store.delete(job)
            except StaleWrite:
                continue
        raise _being_changed(job_id)

    def _reopen(self, job: Job) -> None:
        """Before the job is no longer as it ended: its batch may have noted that."""
        if self._batches and job.batch:
            self._batches.reopen(job.batch, job.batch_item, job.expires_at)

    def answer(self, tenant: str, job_id: str, question_id: str, feedback: Feedback) -> JobRecord:
        """Journal the answer to the question that the job waits for, and resume the job. The same answer again changes
        nothing.

        Raises UnknownJob, NotWaiting, AlreadyAnswered, InvalidRequest, Unavailable.
        """
        record = record_of_tenant(self._store, tenant, job_id)
        asked = record.question if record.job.question == question_id else None
        if asked:
            asked.require_answer(feedback)
        elif question_id not in (entry.key for entry in self._store.entries(record.job) if entry.kind is Kind.HUMAN):
            raise NotWaiting("The job does not wait for an answer to this question.")
        kept, counts = self._journal(record.job, question_id, feedback)

        def resumed(job: Job) -> Job:  # also with another's answer, who may have died before this
            if job.status is not Status.WAITING or job.question != question_id:
                return job
            now = self._clock()
            return with_call(transitions.resume(job, now, self._policy), kept, now)

        record = self._change(tenant, job_id, resumed)
        if record.job.status is Status.PENDING:
            ring(self._doorbell, job_id)
        if not counts:
            raise AlreadyAnswered("The question was answered otherwise before, or has expired.")
        return record

    def _journal(self, job: Job, question_id: str, feedback: Feedback) -> tuple[Call, bool]:
        """The answer that counts, which is the first, and whether it is this one."""
        call = human_call(question_id, feedback, job, self._clock())
        kept = self._store.put_call(job, call)
        return kept, kept.reply.body == call.reply.body

    def _change(self, tenant: str, job_id: str, transition: Callable[[Job], Job]) -> JobRecord:
        for _ in range(_TRIES):
            record = record_of_tenant(self._store, tenant, job_id)
            changed = transition(record.job)
            if changed == record.job:
                return record
            changed = logged(record.job, changed, self._clock())
            try:
                self._store.save(record.job, changed)
            except StaleWrite:
                continue
            return record._replace(job=changed)
        raise _being_changed(job_id)


def _being_changed(job_id: str) -> Unavailable:
    return Unavailable(f"Job {job_id} is being changed by others; try again.")
