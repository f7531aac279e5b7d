"""One attempt at a job: replays journaled calls, pays for and journals new ones, and stops the crew in time."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from crewrelay.jobs.errors import Overdue, StaleWrite, Unanswered
from crewrelay.jobs.ports import Clock, JobStore, RelayDue, Wait
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.job import Job
from crewrelay.jobs.records.journal import Call, Kind, Receipt, Reply, digest_of, in_vain, made_within, usage_of
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import AnswerNeeded, Feedback, Question
from crewrelay.jobs.running.lease import Lease
from crewrelay.jobs.running.reporting import Reporter
from crewrelay.jobs.running.spending import Spending

logger = logging.getLogger(__name__)

# Seconds between attempts to journal a paid call, on top of the adapter's own retries.
_PAUSES = (0.5, 1, 2, 4, 8, 16)
_NEVER: "Future[Any]" = Future()
_LAST_WORDS = timedelta(seconds=0.5)  # time to handle the end of a call before the deadline


class RunStopped(Exception):
    """Raised into a crew whose run may make no more calls; `outcome` has the reason.

    It derives from Exception because CrewAI waits for ever for a task thread that ends with a BaseException.
    """


class Run:
    """Implements Calls for one claim. `outcome` is set once: when the crew ends, or after the first `stop` as soon as
    no call is in flight.
    """

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        policy: Policy,
        lease: Lease,
        journal: Sequence[Call],
        deadline: datetime,
        first_call_is_free: bool,
        wait: Wait,
    ) -> None:
        self.outcome: Future[Answer] = Future()
        self._store = store
        self._clock = clock
        self._policy = policy
        self._lease = lease
        self.deadline = deadline
        self.hastened = False
        self._first_call_is_free = first_call_is_free  # exempt from the check of the remaining time
        self._wait = wait
        self._turn = threading.Condition()  # guards everything below
        self._spending = Spending(policy.budget, lease.job.receipt, journal)
        self._journal = {call.key: call for call in journal if call.key not in lease.job.discarded}
        self._numbers: defaultdict[str, set[int]] = defaultdict(set)
        for key in lease.job.discarded:
            digest, _, nth = key.rpartition("#")
            self._numbers[digest].add(int(nth))
        self._used: list[Call] = []
        self._reporter = Reporter(lease, clock, policy, lambda: self.receipt, self.stop)
        self._last_was_answered = True
        self._tried = first_call_is_free
        self._stopped: BaseException | None = None

    @property
    def receipt(self) -> Receipt:
        return self._spending.receipt

    @property
    def tried(self) -> bool:
        """False if there was no time even for a first call."""
        return self._tried

    @property
    def job_id(self) -> str:
        return self._lease.job.id

    @property
    def is_last_attempt(self) -> bool:
        return self._lease.job.stalled >= self._policy.max_attempts

    @property
    def blamed(self) -> Call | None:
        """The last model reply, if the crew failed right after it."""
        replies = [call for call in self._used if call.kind is Kind.MODEL]
        return replies[-1] if replies and self._last_was_answered else None

    def hasten(self, deadline: datetime) -> None:
        """Move the deadline forward, because a suspect or a restart needs the process."""
        if deadline < self.deadline:
            self.deadline, self.hastened = deadline, True

    @property
    def waits_for_reply(self) -> bool:
        """Whether a model call or retrieval is in flight. Tools do not count: theirs may have no time limit."""
        with self._turn:
            return any(kind is not Kind.TOOL for kind in self._spending.in_flight)

    @property
    def remaining(self) -> timedelta:
        return min(self.deadline, self._must_end_by) - self._clock() - _LAST_WORDS

    @property
    def _must_end_by(self) -> datetime:
        return transitions.run_until(self._lease.job, self._policy)

    def journaled(self, kind: Kind) -> list[Reply]:
        return [call.reply for call in self._journal.values() if call.kind is kind]

    def usage(self) -> Usage:
        return usage_of([*self._used, *made_within(self._journal.values(), self._used)])

    def finish(self, answer: Answer) -> None:
        with self._turn:
            if not self._stopped:
                self._count_divergence()
                self.outcome.set_result(answer)

    def _count_divergence(self) -> None:
        diverged = len(in_vain(self._journal.values(), self._used, self._lease.job.fingerprint))
        if diverged:
            logger.warning("the crew asked something else than before: %d calls were made in vain", diverged)
        self._spending.receipt = self._spending.receipt.model_copy(update={"diverged": diverged})

    def stop(self, error: BaseException) -> None:
        with self._turn:
            if self.outcome.done():
                return
            self._stopped = self._stopped or error
            self._turn.notify_all()
            if not self._spending.in_flight:
                self.outcome.set_exception(self._stopped)

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        digest = digest_of(self._lease.job.fingerprint or "", kind, request)
        nth = self._number(digest)
        try:
            call = self._journal.get(f"{digest}#{nth}")
            if call:
                with self._turn:
                    self._spending.receipt = self._spending.receipt.with_replayed(call)
            else:
                call = self._paid(digest, nth, kind, request, pay)
        except BaseException:
            with self._turn:
                self._numbers[digest].discard(nth)  # no reply: a retry counts as the same call
                self._last_was_answered = False
            raise
        with self._turn:
            self._used.append(call)
            self._last_was_answered = True
        return call.reply

    def ask(self, question: Question) -> Feedback:
        digest = digest_of(self._lease.job.fingerprint or "", Kind.HUMAN, question.model_dump(mode="json"))
        nth = self._number(digest)
        while self._expired_before_retry(question, call := self._journal.get(f"{digest}#{nth}")):
            nth = self._number(digest)
        feedback = Feedback.model_validate_json(call.reply.body) if call else None
        with self._turn:
            self._last_was_answered = False
            if call is None or feedback is None or (feedback.expired and question.default is None):
                self._numbers[digest].discard(nth)
            else:
                self._used.append(call)
                return feedback
        if feedback is None:
            self.stop(AnswerNeeded(f"{digest}#{nth}", question))
        else:
            self.stop(Unanswered(f"Nobody has answered in time: {question.message}"))
        raise RunStopped("this run goes no further without an answer")

    def _expired_before_retry(self, question: Question, call: Call | None) -> bool:
        """Whether the job failed because nobody gave this answer, and was retried since: it asks again."""
        if call is None or question.default is not None or (call.fence or 0) > self._lease.job.retried_after:
            return False
        return Feedback.model_validate_json(call.reply.body).expired

    def counted(self, job: Job) -> Job:
        return self._reporter.counted(job)

    def begin_task(self, name: str, agent: str, number: int, of: int) -> None:
        if not self._stopped:
            self._reporter.begin_task(name, agent, number, of)

    def end_task(self) -> None:
        self._reporter.end_task()

    def _number(self, digest: str) -> int:
        with self._turn:
            taken = self._numbers[digest]
            nth = next(number for number in range(len(taken) + 1) if number not in taken)
            taken.add(nth)
            return nth

    def _paid(self, digest: str, nth: int, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Call:
        self._set_out(kind)
        try:
            begun = self._clock()
            reply = pay()
            ended, job = self._clock(), self._lease.job
            within = request.get("within")
            call = Call(
                digest=digest,
                nth=nth,
                kind=kind,
                seconds=max(0.0, (ended - begun).total_seconds()),
                fence=job.fence,
                at=ended,
                fingerprint=job.fingerprint,
                within=within and digest_of(job.fingerprint or "", Kind.TOOL, within),
                reply=reply,
            )
            call = self._kept(call)
            self._account(call)
            return call
        finally:
            with self._turn:
                self._spending.in_flight.remove(kind)
                self._turn.notify_all()
                if self._stopped:
                    self.stop(self._stopped)

    def _set_out(self, kind: Kind) -> None:
        """Register a call as in flight. Raises RunStopped, and stops the run, if it may not be made."""
        with self._turn:
            while not self._stopped and self._spending.is_open(kind):
                self._turn.wait()
            if not self._stopped:
                reason = self._reason_not_to(kind)
                if reason:
                    self.stop(reason)
            if self._stopped or self.outcome.done():
                raise RunStopped("this run may make no more calls")
            self._spending.in_flight.append(kind)
            self._tried = True

    def _reason_not_to(self, kind: Kind) -> Exception | None:
        now, job = self._clock(), self._lease.job
        if job.lease_until is None or now >= job.lease_until:
            return StaleWrite(f"the lease of job {job.id} could not be renewed in time")
        if now >= self._must_end_by:
            return Overdue(f"The job did not end by {self._must_end_by:%Y-%m-%d %H:%M:%S} UTC.")
        if excess := self._spending.excess(kind):
            return excess
        expected = max(self._policy.call_floor, self._spending.expected(kind))
        if not self._first_call_is_free and self.deadline - now < expected:
            return RelayDue(f"{(self.deadline - now).total_seconds():.1f} s are left")
        return None

    def _kept(self, call: Call) -> Call:
        """Journal a paid call, unfenced; returns the existing entry if there is one."""
        for seconds in _PAUSES:
            try:
                return self._store.put_call(self._lease.job, call)
            except Exception:  # the call is paid for: retry whatever the error is
                logger.warning("could not journal a call yet", exc_info=True)
            self._wait(_NEVER, seconds)
        return self._store.put_call(self._lease.job, call)

    def _account(self, call: Call) -> None:
        with self._turn:
            self._spending.add(call)
            self._first_call_is_free = False
        self._reporter.paid(call)
