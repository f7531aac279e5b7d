"""The sweeper rings again for overdue jobs, and fails those that are out of time or attempts. It resumes those whose
question has expired, and deletes expired jobs where the store does not.

It neither claims nor runs jobs, so sweeps may start at any time, and overlap.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime
from enum import StrEnum
from itertools import chain, islice

from crewrelay.jobs.errors import CrewrelayError, DamagedJob, StaleWrite
from crewrelay.jobs.log_keys import add_log_keys, keys_of, logged_with
from crewrelay.jobs.ports import Clock, Doorbell, JobRecord, JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.event_log import logged, with_call
from crewrelay.jobs.records.job import Failure, Job, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import human_call
from crewrelay.jobs.submission import ring

logger = logging.getLogger(__name__)

_AT_ONCE = 16


class Swept(StrEnum):
    RUNG = "rung"
    ENDED = "ended"
    LEFT = "left"  # the index was stale, or another writer was faster
    FAILED = "failed"  # it could not be checked; it comes first again in the next sweep and must not stop it


class Sweeper:
    def __init__(self, store: JobStore, doorbell: Doorbell, clock: Clock, policy: Policy) -> None:
        self._store = store
        self._doorbell = doorbell
        self._clock = clock
        self._policy = policy

    def sweep(self, deadline: datetime) -> Counter[Swept]:
        """Check all due jobs until the deadline; the next sweep continues from there.

        Expired leases come first. Pending jobs mostly have a bell in the queue: it only rings for as many as keep the
        workers busy until the next sweep. Raises Unavailable when the index does not answer.
        """
        # Clock skew: a worker whose clock is behind would see the lease as valid, and drop the bell.
        moment = self._clock() - self._policy.skew
        held = (self._store.due(status, moment) for status in (Status.RUNNING, Status.WAITING))
        overdue = chain(*held, self._pending(moment))
        swept: Counter[Swept] = Counter()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while self._clock() < deadline and (some := list(islice(overdue, _AT_ONCE))):
                looks = [pool.submit(copy_context().run, self._looked_at, job_id) for job_id in some]
                swept.update(look.result() for look in looks)
        while self._clock() < deadline and self._store.delete_expired():
            pass
        logger.info("swept", extra={what.value: swept[what] for what in Swept})
        return swept

    def _pending(self, moment: datetime) -> Iterator[str]:
        """Due pending jobs, as many as the queue has room for; if it is full, only those past their maximum age."""
        try:
            room = self._policy.enough_bells - self._doorbell.waiting()
        except Exception:
            logger.warning("could not ask how many bells wait", exc_info=True)
            room = 0
        if room > 0:
            yield from islice(self._store.due(Status.PENDING, moment), room)
        else:
            yield from self._store.due(Status.PENDING, moment - self._policy.max_age)

    def _looked_at(self, job_id: str) -> Swept:
        with logged_with(job_id=job_id):
            try:
                return self._look_at(job_id)
            except Exception as error:
                logger.exception("could not look at a job")
                return self._left_or_ended(job_id, error)

    def _left_or_ended(self, job_id: str, error: Exception) -> Swept:
        """Fail a job that can't be loaded once it has been due for the maximum age. Not earlier: another version of the
        code may be able to read it, or the bucket's refusal may pass.
        """
        now = self._clock()
        known = error if isinstance(error, CrewrelayError) else DamagedJob(f"It can't be read: {type(error).__name__}.")
        try:
            ended = self._store.end_damaged(job_id, Failure.of(known), now, now - self._policy.max_age)
        except Exception:
            logger.exception("could not end a job")
            return Swept.FAILED
        return Swept.ENDED if ended else Swept.FAILED

    def _look_at(self, job_id: str) -> Swept:
        record, now = self._store.load(job_id), self._clock()
        if record is None or record.job.due_at is None or record.job.due_at > now:
            return Swept.LEFT
        job = record.job
        add_log_keys(**keys_of(job))
        reason = transitions.reason_to_give_up(job, now, self._policy)
        try:
            if reason:
                self._store.save(job, logged(job, transitions.give_up(job, Failure.of(reason), now), now))
                return Swept.ENDED
            # Two sweepers may both ring: an extra bell is dropped, a missing one would cost the caller time.
            again = self._expire(record, now) if record.question else transitions.postpone(job, now, self._policy)
            self._store.save(job, logged(job, again, now))
        except StaleWrite:
            return Swept.LEFT
        ring(self._doorbell, job_id)
        return Swept.RUNG

    def _expire(self, record: JobRecord, now: datetime) -> Job:
        """Journaled as an answer is, so that one of both counts: an answer may come at this moment."""
        job, question = record.job, record.question
        assert question
        assert job.question
        kept = self._store.put_call(job, human_call(job.question, question.expired(), job, now))
        return with_call(transitions.resume(job, now, self._policy), kept, now)
