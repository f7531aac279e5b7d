"""What became of a job: each write that took effect."""

from typing import NamedTuple

from crewrelay.jobs.records.job import Job, Status


class Transition(NamedTuple):
    """A write to a job; `before` is None for the first."""

    before: Job | None
    after: Job

    @property
    def ends(self) -> bool:
        return self.after.status.finished

    @property
    def takes_over(self) -> bool:
        """The lease of somebody who died, or was too slow, went to another."""
        return self.before is not None and self.before.status is Status.RUNNING and self.after.fence > self.before.fence

    @property
    def is_lawful(self) -> bool:
        """Nothing follows an end, and only the holder of the newest fence writes."""
        if self.before is None:
            return self.after.status is Status.PENDING and self.after.fence == 0
        return not self.before.status.finished and self.after.fence - self.before.fence in (0, 1)
