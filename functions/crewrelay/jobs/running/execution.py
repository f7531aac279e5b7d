"""Answering the bell: claim the job, run its crew, keep the lease, write the outcome.

The crew runs on its own thread; the calling thread waits for it and renews the lease. So the wait ends at the
deadline whatever the model does, and no lease is renewed after the handler has returned.
"""

import contextvars
import logging
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import datetime, timedelta
from typing import Any, TypeVar

from crewrelay.jobs.errors import CrewStuck, DamagedJob, Misconfigured, Overdue, StaleWrite, Unavailable
from crewrelay.jobs.log_keys import add_log_keys, keys_of, log_keys, logged_with
from crewrelay.jobs.ports import (
    Clock,
    Crew,
    Doorbell,
    Jitter,
    JobRecord,
    JobStore,
    NewId,
    RelayDue,
    Wait,
    event_log_of,
)
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.event_log import logged, with_calls
from crewrelay.jobs.records.events import MOST_STORED, key_of
from crewrelay.jobs.records.job import Failure, Job, JobInput
from crewrelay.jobs.records.journal import Call
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import AnswerNeeded
from crewrelay.jobs.running.lease import Lease
from crewrelay.jobs.running.process import Process, Visit
from crewrelay.jobs.running.run import Run, RunStopped
from crewrelay.jobs.running.stray import Stray
from crewrelay.jobs.submission import ring

logger = logging.getLogger(__name__)

T = TypeVar("T")


def done_within(outcome: Future[Any], seconds: float) -> bool:
    return bool(wait([outcome], timeout=seconds).done)


class Execution:
    def __init__(
        self,
        store: JobStore,
        doorbell: Doorbell,
        crew: Crew,
        clock: Clock,
        new_id: NewId,
        jitter: Jitter,
        policy: Policy,
        wait: Wait = done_within,
        process: Process | None = None,
    ) -> None:
        """All executions in one process share one `process`."""
        self._store = store
        self._doorbell = doorbell
        self._crew = crew
        self._clock = clock
        self._new_id = new_id
        self._jitter = jitter
        self._policy = policy
        self._wait = wait
        self._process = process or Process()

    def run(
        self,
        job_id: str,
        deadline: datetime,
        *,
        first_call_is_free: bool = False,
        grace: timedelta = timedelta(),
    ) -> None:
        """Claim and run the job if it is due; return when this attempt has ended, at the deadline at the latest.

        The job is relayed when too little time is left for its next call. With `first_call_is_free` (a fresh worker)
        the first call is made regardless, so that every job makes progress. With a `grace`, a crew that still runs
        that long after the deadline counts as a strike. Raises Unavailable when the table does not answer.
        """
        with logged_with(job_id=job_id), self._process.visit() as visit:
            record = self._at_its_turn(job_id, visit, deadline)
            if record is None:
                return
            try:
                job = self._claim(record)
                if job is not None:
                    add_log_keys(fence=job.fence)
                    self._carry_out(job, record.input, visit, deadline, first_call_is_free, grace)
            except StaleWrite as refused:
                logger.info("another holder has the job: %s", refused)

    def _at_its_turn(self, job_id: str, visit: Visit, deadline: datetime) -> JobRecord | None:
        """The job, once it may run in this process; None if it may not. After a wait it is read again."""
        while (record := self._loaded(job_id)) and transitions.claimable(record.job, self._clock()):
            if not self._has_its_turn(record.job, visit, deadline):
                ring(self._doorbell, job_id)
                return None
            if not visit.waited:
                return record
        return None

    def _loaded(self, job_id: str) -> JobRecord | None:
        try:
            record = self._store.load(job_id)
        except DamagedJob:
            logger.error("left to the sweeper, which ends it at its age", exc_info=True)
            return None
        if record is None:
            logger.info("no such job, or no longer")
            return None
        add_log_keys(**keys_of(record.job))
        return record

    def _has_its_turn(self, job: Job, visit: Visit, deadline: datetime) -> bool:
        """Wait for the job's turn in this process; False if too little time would be left for a call. A waiting job is
        not claimed, so nothing is lost if the process dies.
        """
        now = self._clock()
        seconds = (deadline - now).total_seconds() / 2
        if transitions.is_suspect(job, now):
            timeout = self._policy.notice.total_seconds()
            return visit.may_run_alone(transitions.failures(job, now), seconds, timeout)
        return visit.may_share(seconds)

    def _claim(self, record: JobRecord) -> Job | None:
        before, now = record.job, self._clock()
        reason = transitions.reason_to_give_up(before, now, self._policy)
        if reason:
            self._store.save(before, logged(before, transitions.give_up(before, Failure.of(reason), now), now))
            return None
        fingerprint = self._crew.fingerprint(record.input)
        job = logged(before, transitions.claim(before, self._new_id(), fingerprint, now, self._policy), now)
        self._store.save(before, job)
        if job.restarts > before.restarts:
            logger.warning("the crew has changed: starting afresh")
        return job

    def _carry_out(
        self,
        job: Job,
        job_input: JobInput,
        visit: Visit,
        deadline: datetime,
        first_call_is_free: bool,
        grace: timedelta,
    ) -> None:
        lease = Lease(self._store, job, self._clock)
        try:
            journal = self._journal(lease) if job.fence > 1 else []  # nothing can have been paid before the first claim
        except (Unavailable, DamagedJob) as error:
            return self._failed(lease, error)
        run = Run(self._store, self._clock, self._policy, lease, journal, deadline, first_call_is_free, self._wait)
        thread = f"crew-{job.id}"
        crew = on_own_thread(lambda: self._attempt(run, job_input), thread)
        stray = Stray(job.id, thread, crew, lambda: run.waits_for_reply)
        try:
            self._see_through(lease, run, stray, visit, grace)
        finally:  # in every case: no call starts after the handler has returned
            run.stop(RunStopped("its handler has answered"))
            if not crew.done():
                self._process.leave_behind(stray)

    def _journal(self, lease: Lease) -> list[Call]:
        """The journal. The lease is renewed while reading: a large one can take longer than a lease lasts."""
        calls, renewal = [], self._clock() + self._policy.renewal
        for call in self._store.journal(lease.job):
            calls.append(call)
            if self._clock() >= renewal:
                self._renew(lease)
                renewal = self._clock() + self._policy.renewal
        if len(calls) > lease.job.calls_logged:
            self._log_missing(lease, calls)
        return calls

    def _log_missing(self, lease: Lease, journal: list[Call]) -> None:
        """Calls of a run that died between journaling and logging them."""
        known = {event.details.get("key") for event in event_log_of(self._store, lease.job)}
        missing = [call for call in journal if key_of(call) not in known]
        for start in range(0, len(missing), MOST_STORED):  # a row holds only so much
            self._log_calls(lease, missing[start : start + MOST_STORED])

    def _log_calls(self, lease: Lease, calls: list[Call]) -> None:
        now = self._clock()
        lease.advance(lambda job: transitions.progress(with_calls(job, calls, now)))

    def _see_through(self, lease: Lease, run: Run, crew: Stray, visit: Visit, grace: timedelta) -> None:
        while not self._wait(run.outcome, self._timeout(run.deadline)):
            if visit.is_to_leave:
                run.hasten(self._clock() + self._policy.notice)
            if self._clock() >= run.deadline:
                run.stop(RelayDue("the deadline has come"))
                return self._strike(lease, run, crew) if self._is_stuck(run, crew, grace) else self._relay(lease, run)
            self._renew(lease)
        self._conclude(lease, run)

    def _is_stuck(self, run: Run, crew: Stray, grace: timedelta) -> bool:
        if run.hastened:  # its deadline was moved forward: it may still have stopped by its own
            return False
        seconds = min(grace, self._policy.renewal).total_seconds()  # the lease outlasts this wait
        return bool(grace) and not self._wait(crew.crew, seconds) and not run.waits_for_reply

    def _strike(self, lease: Lease, run: Run, crew: Stray) -> None:
        """The crew does not stop. One reply may cause this every time, at a process each: limit the strikes."""
        self._process.retire(crew)
        strikes = lease.job.strikes + 1
        if strikes < self._policy.max_strikes:
            return self._relay(lease, run, struck=True)
        reason = Failure.of(CrewStuck(f"The crew did not stop, {strikes} times in a row; it was in {crew.told_where}."))
        lease.advance(lambda job: transitions.fail(transitions.strike(_counted(job, run)), reason, self._clock()))

    def _attempt(self, run: Run, job_input: JobInput) -> None:
        try:
            run.finish(self._crew.run(job_input, run))
        except BaseException as error:  # SystemExit too: CrewAI raises it when the context is too long
            run.stop(error)

    def _timeout(self, deadline: datetime) -> float:
        remaining = (deadline - self._clock()).total_seconds()
        return max(0.0, min(remaining, self._policy.renewal.total_seconds()))

    def _renew(self, lease: Lease) -> None:
        try:
            lease.advance(lambda job: transitions.renew(job, self._clock(), self._policy))
        except StaleWrite:
            raise
        except Exception:
            # Two renewals in a row may fail before the lease expires, and the next round tries again. No call starts on
            # an expired lease.
            logger.warning("could not renew the lease", exc_info=True)

    def _conclude(self, lease: Lease, run: Run) -> None:
        error = run.outcome.exception()
        if error is None:
            return self._complete(lease, run)
        if isinstance(error, StaleWrite):
            raise error
        if isinstance(error, RelayDue):
            return self._relay(lease, run)
        if isinstance(error, AnswerNeeded):
            return self._ask(lease, run, error)
        self._failed(lease, error, run)

    def _ask(self, lease: Lease, run: Run, needed: AnswerNeeded) -> None:
        now = self._clock()
        until = transitions.answer_by(lease.job, needed.question.timeout, now, self._policy)
        if until < now:
            return self._failed(lease, Overdue("The job is too old to wait for an answer."), run)
        self._store.put_question(lease.job, needed.id, needed.question)
        lease.advance(lambda job: transitions.wait(_counted(job, run), needed.id, now, until, self._policy))

    def _complete(self, lease: Lease, run: Run) -> None:
        try:
            answer = run.outcome.result()
            for file in answer.files:
                if file.digest:
                    self._store.put_file(lease.job, file)
            self._store.put_answer(lease.job, answer)
        except (Misconfigured, TypeError, ValueError) as error:  # it can't be stored at all
            return self._failed(lease, error, run)
        lease.advance(lambda job: transitions.complete(_counted(job, run), self._clock()))

    def _relay(self, lease: Lease, run: Run, *, struck: bool = False) -> None:
        def relayed(job: Job) -> Job:
            job = transitions.strike(_counted(job, run)) if struck else _counted(job, run)
            return transitions.relay(job, self._clock(), self._policy, tried=run.tried and not run.hastened)

        job = lease.advance(relayed)
        ring(self._doorbell, job.id)

    def _failed(self, lease: Lease, error: BaseException, run: Run | None = None) -> None:
        """Schedule a retry if the error is transient and attempts are left; else fail the job."""
        failure = self._crew.explain(error)
        job, now = lease.job, self._clock()
        pause = self._policy.backoff(max(1, job.stalled + job.outages), self._jitter(), failure.retry_after)
        seen = {"retryable": failure.retryable, "where": _where(error)}
        logger.warning("the crew failed: %s", failure.type, extra=seen)
        if transitions.may_back_off(job, failure, now + pause, self._policy):
            lease.advance(lambda job: transitions.back_off(_counted(job, run), failure, now, now + pause, self._policy))
            # Clock skew: a worker whose clock is behind would see the backoff as not over, and drop the bell.
            ring(self._doorbell, job.id, pause + self._policy.skew)
        else:
            blamed = run.blamed if run else None
            lease.advance(lambda job: transitions.fail(_counted(job, run), failure, now, blamed))


def _where(error: BaseException) -> list[str]:
    """The last frames of the traceback, for the log. The message may hold a caller's text and stays in the row."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-5:]]


def _counted(job: Job, run: Run | None) -> Job:
    return run.counted(job) if run else job


def on_own_thread(work: Callable[[], T], name: str) -> Future[T]:
    """Run on a daemon thread, so that an abandoned one does not keep the process alive. Of the caller's context it
    inherits the log keys only.
    """
    outcome: Future[T] = Future()
    keys = log_keys()

    def target() -> None:
        add_log_keys(**keys)
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    context = contextvars.Context()  # CrewAI keeps a run's events and call stack in context variables
    threading.Thread(target=context.run, args=(target,), name=name, daemon=True).start()
    return outcome
