"""A claimed job in the hands of its holder: every write is fenced, and a lock serialises the threads."""

import threading
from collections.abc import Callable

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.job import Job, Status
from crewrelay.jobs.ports import JobStore


class Lease:
    def __init__(self, store: JobStore, job: Job) -> None:
        self._store = store
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
        after = transition(self._job)
        self._store.save(self._job, after)
        self._job = after
        return after

    def _catch_up(self) -> bool:
        """Reload a row that changed but is still ours: the sweeper wrote it, or our own write's reply was lost."""
        record = self._store.load(self._job.id)
        if record is None or record.job.revision == self._job.revision:
            return False
        if (record.job.status, record.job.fence) != (Status.RUNNING, self._job.fence):
            return False
        self._job = record.job
        return True
