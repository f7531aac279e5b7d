"""Which jobs run side by side in one process, which one has it to itself, and when it is to be started anew."""

import logging
import threading
from concurrent.futures import wait
from types import TracebackType

from crewrelay.jobs.stray import Stray

logger = logging.getLogger(__name__)

_ORDINARY = 0
_MOST_LOOKS = 100  # at a crew that waits for a reply: some replies never end


class Process:
    """Ordinary jobs share it. A suspect, of which an earlier process may have died, runs when no other job does: nobody
    else is lost with it, and if this process dies too, it is known of what.

    A crew that is still at work when its run is over can't be stopped from outside. One that does not come back keeps
    its thread and perhaps a core for as long as the process lives, so that must not be long.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()  # for everything below
        self._ranks: dict[Visit, int] = {}  # of the jobs that run or wait: suspects have higher ones
        self._isolated: Visit | None = None  # the suspect that runs
        self._strays: list[Stray] = []
        self.retired = False

    @property
    def takes_jobs(self) -> bool:
        """Not while there are suspects, which would wait for ever if others kept coming; and not once it is retired."""
        with self._changed:
            return not (self.retired or any(self._ranks.values()))

    def visit(self) -> "Visit":
        return Visit(self)

    def leave_behind(self, stray: Stray) -> None:
        """Its run is over; whether it comes back is seen later."""
        with self._changed:
            self._strays.append(stray)

    def retire(self, stray: Stray) -> None:
        """Take no more jobs, and give those back that run: this crew does not come back."""
        said = {"job_id": stray.job_id, "where": stray.where}
        logger.warning("a crew does not come back: this process is to be started anew", extra=said)
        with self._changed:
            self.retired = True

    def is_sound(self, grace: float) -> bool:
        """Whether the crews that were left behind come back, after so many seconds at most. One that waits for a reply
        is looked at another time. If not, the process is to be started anew as soon as it holds no job.
        """
        with self._changed:
            strays, self._strays = self._strays, []
        for stray in strays:
            if self.retired:
                break
            if stray.waits_for_reply() and stray.looks < _MOST_LOOKS:
                self.leave_behind(stray._replace(looks=stray.looks + 1))
            elif not wait([stray.crew], grace).done:
                self.retire(stray)
        return not self.retired


class Visit:
    """From the first look at a job to the end of its run. It counts as ordinary until it is found to be a suspect, so
    that of jobs which come together the ordinary ones go first.
    """

    def __init__(self, process: Process) -> None:
        self._process = process

    def __enter__(self) -> "Visit":
        with self._process._changed:
            self._process._ranks[self] = _ORDINARY
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        with process._changed:
            del process._ranks[self]
            if process._isolated is self:
                process._isolated = None
            process._changed.notify_all()

    def may_share(self, seconds: float) -> bool:
        """Wait, for so many seconds at most, until no suspect runs; whether that came true."""
        process = self._process
        with process._changed:
            return process._changed.wait_for(lambda: process._isolated is None, seconds)

    def may_run_alone(self, failures: int, seconds: float) -> bool:
        """Wait, for so many seconds at most, until nothing else runs, nor is there a suspect that has failed less often
        and is more likely to be innocent; whether that came true.
        """
        process, rank = self._process, 1 + failures

        def has_its_turn() -> bool:
            return process._isolated is None and rank == min(process._ranks.values())

        with process._changed:
            process._ranks[self] = rank
            process._changed.notify_all()
            if process._changed.wait_for(has_its_turn, seconds):
                process._isolated = self
            return process._isolated is self
