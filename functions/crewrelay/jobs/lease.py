"""A claimed job as its holder has it. Its writes are fenced, and those of its threads take turns."""

import threading
from collections.abc import Callable

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.job import Job
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
        """Move the job on and write it down.

        Raises StaleWrite, from then on always, once the job is somebody else's or has ended; and Unavailable: then
        the holder's idea of the job is as before.
        """
        with self._turn:
            if self._lost:
                raise self._lost
            try:
                after = transition(self._job)
                self._store.save(self._job, after)
            except StaleWrite as lost:
                self._lost = lost
                raise
            self._job = after
            return after
