"""A claimed job in the hands of its holder: every write is fenced, and a lock serialises the threads.

It logs each change, and moves entries of the event log out of the job's row when they are many.
"""

import logging
import threading
from collections.abc import Callable

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.ports import Clock, JobStore
from crewrelay.jobs.records import event_log
from crewrelay.jobs.records.events import are_many, in_rows
from crewrelay.jobs.records.job import Job, Status

logger = logging.getLogger(__name__)


class Lease:
    def __init__(self, store: JobStore, job: Job, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._job = job
        self._lost: StaleWrite | None = None
        self._turn = threading.Lock()

    @property
    def job(self) -> Job:
        return self._job

    def advance(self, transition: Callable[[Job], Job]) -> Job:
        """Apply a transition and save the job. `transition` may be called twice.

        Raises StaleWrite, and always from then on, once another holder has the job or it has ended; and Unavailable,
        which leaves `job` as it was.
        """
        with self._turn:
            if self._lost:
                raise self._lost
            try:
                try:
                    return self._write(transition)
                except StaleWrite:
                    if not self._catch_up():
                        raise
                    return self._write(transition)
            except StaleWrite as lost:
                self._lost = lost
                raise

    def _write(self, transition: Callable[[Job], Job]) -> Job:
        now = self._clock()
        after = event_log.logged(self._job, transition(self._with_a_short_log()), now)
        self._store.save(self._job, after)
        self._job = after
        return after

    def _with_a_short_log(self) -> Job:
        """What is moved stands in the row that was saved, so the numbers are final, whatever becomes of this write."""
        job = self._job
        if not are_many(job.log):
            return job
        try:
            for row in in_rows(job.log_from, job.log):
                self._store.put_events(job, row)
        except Exception:  # the row only stays long
            logger.warning("could not move the event log", exc_info=True)
            return job
        return event_log.without_moved(job, len(job.log))

    def _catch_up(self) -> bool:
        """Reload a row that changed but is still ours: the sweeper wrote it, or our own write's reply was lost."""
        record = self._store.load(self._job.id)
        if record is None or record.job.revision == self._job.revision:
            return False
        ours = (Status.RUNNING, self._job.fence, self._job.holder)  # the fence of a job that was deleted begins anew
        if (record.job.status, record.job.fence, record.job.holder) != ours:
            return False
        self._job = record.job
        return True
