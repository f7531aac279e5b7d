"""Saves how far a run has come, under its lease: in the receipt, the progress and the event log."""

import logging
import threading
from collections.abc import Callable

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records import event_log, transitions
from crewrelay.jobs.records.job import Job
from crewrelay.jobs.records.journal import Call, Receipt
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.lease import Lease

logger = logging.getLogger(__name__)


class Reporter:
    """`receipt` is what the run has cost so far; `stop` ends it, once its lease is lost. Thread-safe."""

    def __init__(
        self,
        lease: Lease,
        clock: Clock,
        policy: Policy,
        receipt: Callable[[], Receipt],
        stop: Callable[[BaseException], None],
    ) -> None:
        self._lease = lease
        self._clock = clock
        self._policy = policy
        self._receipt = receipt
        self._stop = stop
        self._turn = threading.Lock()
        self._begun = self._ended = 0  # tasks, also those of earlier runs that are gone through again

    def counted(self, job: Job) -> Job:
        """The job with what this run has cost and ended so far."""
        return event_log.end_tasks(job.model_copy(update={"receipt": self._receipt()}), self._ended, self._clock())

    def begin_task(self, name: str, agent: str, number: int, of: int) -> None:
        with self._turn:
            self._begun += 1
            nth = self._begun
        if nth <= self._lease.job.progress.begun:
            return

        def begun(job: Job) -> Job:
            job = transitions.progress(self.counted(job))
            return event_log.begin_task(job, nth, name, agent, number, of, self._clock())

        self._save(begun)

    def end_task(self) -> None:
        """Saved with the next write."""
        with self._turn:
            self._ended += 1

    def paid(self, call: Call) -> None:
        """The journal has grown: save the receipt and renew the lease."""

        def paid(job: Job) -> Job:
            now = self._clock()
            return event_log.with_call(
                transitions.paid(self.counted(job), self._receipt(), now, self._policy), call, now
            )

        self._save(paid)

    def _save(self, transition: Callable[[Job], Job]) -> None:
        """If refused, the job is no longer ours: stop before spending again."""
        try:
            self._lease.advance(transition)
        except StaleWrite as refused:
            self._stop(refused)
        except Exception:  # the journal has what was paid, and the next claim recounts it: don't fail the crew
            logger.warning("could not save how far the run has come", exc_info=True)
