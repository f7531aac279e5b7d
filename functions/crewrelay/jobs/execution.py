"""Answering the bell: claim the job, run its crew, keep the lease, write the outcome.

The crew runs on a thread of its own, and the thread that waits for it renews the lease. So the wait ends at
the deadline whatever the model does, and no renewal outlives the call.
"""

import contextvars
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import datetime
from typing import TypeVar

from crewrelay.jobs import job as transitions
from crewrelay.jobs.answer import Answer
from crewrelay.jobs.errors import AnswerTooLarge, CrewrelayError, StaleWrite, Unavailable
from crewrelay.jobs.job import Failure, Job, JobInput, Policy
from crewrelay.jobs.ports import Clock, Crew, Doorbell, JobStore, NewId

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Execution:
    def __init__(
        self, store: JobStore, doorbell: Doorbell, crew: Crew, clock: Clock, new_id: NewId, policy: Policy
    ) -> None:
        self._store = store
        self._doorbell = doorbell
        self._crew = crew
        self._clock = clock
        self._new_id = new_id
        self._policy = policy

    def run(self, job_id: str, deadline: datetime) -> None:
        """Run the job if it is to be run now; return when it has ended or at the deadline, whichever is first.

        At the deadline the job goes back to pending and the bell is rung. Raises Unavailable when the table or the
        queue does not answer: whoever delivered the bell is to deliver it again.
        """
        record = self._store.load(job_id)
        if record is None:
            return logger.info("no such job, or no longer", extra={"job_id": job_id})
        try:
            job = self._claim(record.job)
            if job is not None:
                self._carry_out(job, record.input, deadline)
        except StaleWrite as refused:
            logger.info("left to somebody else: %s", refused, extra={"job_id": job_id})

    def _claim(self, before: Job) -> Job | None:
        now = self._clock()
        if not transitions.claimable(before, now):
            return None
        if before.attempts >= self._policy.max_attempts:
            failure = Failure(
                type="attempts_exhausted",
                message=f"The job did not end within {before.attempts} attempts. "
                "Its model may be too slow for the time one run is given, or its process keeps dying.",
            )
            self._store.save(before, transitions.exhaust(before, failure, now))
            return None
        job = transitions.claim(before, self._new_id(), now, self._policy)
        self._store.save(before, job)
        return job

    def _carry_out(self, job: Job, job_input: JobInput, deadline: datetime) -> None:
        running = on_own_thread(lambda: self._crew.run(job_input), name=f"crew-{job.id}")
        while not wait([running], timeout=self._patience(deadline)).done:
            if self._clock() >= deadline:
                return self._release(job)
            job = self._renewed(job)
        error = running.exception()  # SystemExit too: CrewAI raises it for a context that is too long
        if error is not None:
            return self._fail(job, failure_of(error))
        self._complete(job, running.result())

    def _patience(self, deadline: datetime) -> float:
        remaining = (deadline - self._clock()).total_seconds()
        return max(0.0, min(remaining, self._policy.renewal.total_seconds()))

    def _complete(self, job: Job, answer: Answer) -> None:
        try:
            self._store.put_answer(job, answer)
        except (AnswerTooLarge, ValueError) as error:  # ValueError: it can't be written down at all
            return self._fail(job, failure_of(error))
        self._store.save(job, transitions.complete(job, self._clock()))

    def _fail(self, job: Job, failure: Failure) -> None:
        logger.warning("the crew failed: %s", failure.type, extra={"job_id": job.id})
        self._store.save(job, transitions.fail(job, failure, self._clock()))

    def _release(self, job: Job) -> None:
        self._store.save(job, transitions.release(job, self._clock(), self._policy))
        self._doorbell.ring(job.id)

    def _renewed(self, job: Job) -> Job:
        renewed = transitions.renew(job, self._clock(), self._policy)
        try:
            self._store.save(job, renewed)
        except Unavailable:
            # One renewal in three may fail: the lease still stands, the next round tries again.
            logger.warning("could not renew the lease", extra={"job_id": job.id}, exc_info=True)
            return job
        return renewed


def failure_of(error: BaseException) -> Failure:
    """An error as the job keeps it: its public code if it has one, else the name of its class."""
    message = (str(error) or "The crew gave no reason.")[:500]
    if isinstance(error, CrewrelayError):
        return Failure(type=error.code, message=message, retryable=error.retryable)
    return Failure(type=type(error).__name__, message=message)


def on_own_thread(work: Callable[[], T], name: str) -> Future[T]:
    """Run on a daemon thread: one that nobody waits for any longer must not keep the process alive."""
    outcome: Future[T] = Future()

    def target() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    context = contextvars.Context()  # CrewAI keeps a run's events and call stack in context variables
    threading.Thread(target=context.run, args=(target,), name=name, daemon=True).start()
    return outcome
