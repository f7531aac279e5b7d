"""One attempt at a job: what its crew may pay for, what it is answered from the journal, when it must stop."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from crewrelay.jobs import job as transitions
from crewrelay.jobs.answer import Answer, Usage
from crewrelay.jobs.errors import BudgetExceeded, Overdue, StaleWrite, Unavailable
from crewrelay.jobs.journal import Call, Kind, Receipt, Reply, digest_of, usage_of
from crewrelay.jobs.lease import Lease
from crewrelay.jobs.policy import Policy
from crewrelay.jobs.ports import Clock, JobStore

logger = logging.getLogger(__name__)

_PUTS = 3  # of an entry, each of which the adapter repeats: what was paid is worth it


class RunStopped(Exception):
    """What a crew sees when its run may pay for nothing more; `outcome` has the reason.

    An ordinary Exception: CrewAI waits for ever for a task on a thread that ends with any other.
    """


class RelayDue(Exception):
    """What is left of this invocation is not enough for the next call."""


class Run:
    """The domain's Calls, over one claim. `outcome` is set once: by the crew's end, or by the first stop, when
    no call is in flight any more.
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
    ) -> None:
        self.outcome: Future[Answer] = Future()
        self._store = store
        self._clock = clock
        self._policy = policy
        self._lease = lease
        self._deadline = deadline
        self._first_call_is_free = first_call_is_free  # of the question whether there is time for it
        self._turn = threading.RLock()  # for everything below
        self._receipt = lease.job.receipt.recounted(journal)
        self._standing = {(call.digest, call.nth): call for call in journal}
        self._longest: defaultdict[Kind, float] = defaultdict(float)  # seconds
        for call in journal:
            self._longest[call.kind] = max(self._longest[call.kind], call.seconds)
        self._numbers: defaultdict[str, set[int]] = defaultdict(set)
        self._used: list[Call] = []
        self._in_flight: list[Kind] = []
        self._stopped: BaseException | None = None

    @property
    def receipt(self) -> Receipt:
        return self._receipt

    def usage(self) -> Usage:
        return usage_of(self._used)

    def finish(self, answer: Answer) -> None:
        with self._turn:
            if not self._stopped:
                self.outcome.set_result(answer)

    def stop(self, error: BaseException) -> None:
        with self._turn:
            if self.outcome.done():
                return
            self._stopped = self._stopped or error
            if not self._in_flight:
                self.outcome.set_exception(self._stopped)

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        digest = digest_of(self._lease.job.fingerprint or "", kind, request)
        nth = self._number(digest)
        try:
            call = self._standing.get((digest, nth))
            if call:
                with self._turn:
                    self._receipt = self._receipt.with_replayed(call)
            else:
                call = self._paid(digest, nth, kind, pay)
        except BaseException:
            with self._turn:
                self._numbers[digest].discard(nth)  # it got no reply: a repeat is the same call
            raise
        with self._turn:
            self._used.append(call)
        return call.reply

    def _number(self, digest: str) -> int:
        with self._turn:
            taken = self._numbers[digest]
            nth = next(number for number in range(len(taken) + 1) if number not in taken)
            taken.add(nth)
            return nth

    def _paid(self, digest: str, nth: int, kind: Kind, pay: Callable[[], Reply]) -> Call:
        self._set_out(kind)
        try:
            begun = self._clock()
            reply = pay()
            seconds = (self._clock() - begun).total_seconds()
            call = Call(digest=digest, nth=nth, kind=kind, seconds=max(0.0, seconds), reply=reply)
            call = self._kept(call)
            self._account(call)
            return call
        finally:
            with self._turn:
                self._in_flight.remove(kind)
                if self._stopped:
                    self.stop(self._stopped)

    def _set_out(self, kind: Kind) -> None:
        """Raises RunStopped, and stops the run, if this call may not be made."""
        with self._turn:
            if not self._stopped:
                reason = self._reason_not_to(kind)
                if reason:
                    self.stop(reason)
            if self._stopped or self.outcome.done():
                raise RunStopped("this run may make no more calls")
            self._in_flight.append(kind)

    def _reason_not_to(self, kind: Kind) -> Exception | None:
        now, job, budget = self._clock(), self._lease.job, self._policy.budget
        if job.lease_until is None or now >= job.lease_until:
            return StaleWrite(f"the lease of job {job.id} could not be renewed in time")
        if now >= job.end_by:
            return Overdue(f"The job did not end by {job.end_by:%Y-%m-%d %H:%M:%S} UTC.")
        if kind is Kind.MODEL and self._receipt.calls_paid + self._in_flight.count(kind) >= budget.calls:
            return BudgetExceeded(
                f"The job has made {self._receipt.calls_paid} model calls; {budget.calls} are allowed."
            )
        if kind is Kind.MODEL and self._receipt.tokens >= budget.tokens:
            return BudgetExceeded(f"The job has used {self._receipt.tokens:,} tokens; {budget.tokens:,} are allowed.")
        if not self._first_call_is_free and self._deadline - now < self._expected(kind):
            return RelayDue(f"{(self._deadline - now).total_seconds():.1f} s are left")
        return None

    def _expected(self, kind: Kind) -> timedelta:
        return max(self._policy.call_floor, timedelta(seconds=self._longest[kind]))

    def _kept(self, call: Call) -> Call:
        """Put into the journal, unfenced: it was paid for. The one that stands there already is taken instead."""
        for _ in range(_PUTS - 1):
            try:
                return self._store.put_call(self._lease.job, call)
            except Unavailable:
                logger.warning("could not journal a call yet", extra={"job_id": self._lease.job.id}, exc_info=True)
        return self._store.put_call(self._lease.job, call)

    def _account(self, call: Call) -> None:
        """Write the receipt under the fence. Refused, the job is no longer ours: stop before spending again."""
        with self._turn:
            self._receipt = self._receipt.with_paid(call)
            self._longest[call.kind] = max(self._longest[call.kind], call.seconds)
            self._first_call_is_free = False
        try:
            self._lease.advance(lambda job: transitions.paid(job, self._receipt, self._clock(), self._policy))
        except StaleWrite as refused:
            self.stop(refused)
        except Unavailable:  # the entry is kept, and the next claim recounts
            logger.warning("could not write the receipt", extra={"job_id": self._lease.job.id}, exc_info=True)
