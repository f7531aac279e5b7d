"""What is asserted of every single thing that happens: writes to a job's row, and calls that are paid for."""

from datetime import datetime
from typing import NamedTuple

from crewrelay.jobs.records.job import Job, Status

AT_ONCE = 2  # calls of a run
Key = tuple[str, int]  # a call's digest, and its number among identical ones


class Step(NamedTuple):
    """A write to a job's row that changed it."""

    by: str
    before: Job
    after: Job

    @property
    def ends(self) -> bool:
        return self.after.status.finished and not self.before.status.finished

    @property
    def takes_over(self) -> bool:
        """From a holder that did not give the job back."""
        return self.before.status is self.after.status is Status.RUNNING and self.after.fence > self.before.fence

    @property
    def is_lawful(self) -> bool:
        """A job that has ended stays as it is, but for a failed one that is tried again; a fence never falls, rises by
        one at a time, and always does when the job gets another holder.
        """
        before, after = self.before, self.after
        if before.status.finished and not (before.status is Status.FAILED and after.status is Status.PENDING):
            return False
        if after.fence - before.fence not in (0, 1):
            return False
        taken = after.status is Status.RUNNING and after.holder != before.holder
        if taken and after.fence == before.fence:
            return False
        return (after.due_at is None) == after.status.finished  # somebody will look at it again


class Run:
    """What one attempt at a job has paid for."""

    def __init__(self, claimed: Job) -> None:
        self.job_id = claimed.id
        self.fence = claimed.fence
        self.fingerprint = claimed.fingerprint or ""
        self.known: set[Key] = set()  # to the journal, when it was read
        self.faults = 0  # of requests to the table
        self._told: set[Key] = set()
        self._asked_too_late = 0

    def asks(self, key: Key, standing: Job, now: datetime) -> list[str]:
        """A call is to be paid for: the promises that this breaks. Told, not raised: the run would catch it."""
        held = standing.fence == self.fence and standing.status is Status.RUNNING
        self._asked_too_late += not held
        return [
            promise
            for promise, is_broken in (
                ("nothing is paid for that the journal held", key in self.known),
                ("nothing is paid for twice by one run", key in self._told),
                (
                    "nothing is paid for on a lease that has run out",
                    held and standing.lease_until is not None and now >= standing.lease_until,
                ),
                (
                    "once a job has moved on no more calls are paid for than it makes at once, unless the write failed"
                    " that would tell of it",
                    self._asked_too_late > AT_ONCE + self.faults,
                ),
            )
            if is_broken
        ]

    def is_told(self, key: Key) -> None:
        self._told.add(key)
