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
        self._in_need: set[Visit] = set()  # suspects that have waited for too long: ordinary jobs make room
        self._waiting: set[Visit] = set()  # ordinary jobs that wait until suspects are done
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
            self._changed.notify_all()

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

    waited: bool  # for the last answer: the job is to be read again, for it may have changed meanwhile

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

    @property
    def is_to_leave(self) -> bool:
        """Whether its run is to end soon: for a suspect that has waited for long, or for a process started anew."""
        process = self._process
        with process._changed:
            return process.retired or (bool(process._in_need) and process._isolated is not self)

    def may_share(self, seconds: float) -> bool:
        """Wait, for so many seconds at most, until no suspect runs or has waited for too long; whether that came true.
        It does not if the process is retired meanwhile.
        """
        process = self._process
        with process._changed:
            self.waited = not self._may_share_now()
            if not self.waited:
                return True
            process._waiting.add(self)
            process._changed.notify_all()
            process._changed.wait_for(lambda: process.retired or self._may_share_now(), seconds)
            process._waiting.remove(self)
            return not process.retired and self._may_share_now()

    def may_run_alone(self, failures: int, seconds: float, timeout: float) -> bool:
        """Wait, for so many seconds at most, until nothing else runs, nor is there a suspect that has failed less often
        and is more likely to be innocent; whether that came true. After `timeout` seconds the ordinary jobs that run
        are told to end, and no others begin. In a process that is retired no suspect runs.
        """
        process = self._process

        def is_over() -> bool:
            return process.retired or self._may_run_alone_now()

        with process._changed:
            process._ranks[self] = 1 + failures
            process._changed.notify_all()
            self.waited = not is_over()
            came = process._changed.wait_for(is_over, min(seconds, timeout))
            if not came and seconds > timeout:
                process._in_need.add(self)
                came = process._changed.wait_for(is_over, seconds - timeout)
                process._in_need.remove(self)
            if came and not process.retired:
                process._isolated = self
            return process._isolated is self

    def _may_share_now(self) -> bool:
        process = self._process
        return process._isolated is self or (process._isolated is None and not process._in_need)

    def _may_run_alone_now(self) -> bool:
        process = self._process
        if process._isolated:
            return process._isolated is self
        passed = process._waiting if self in process._in_need else ()
        return process._ranks[self] == min(rank for visit, rank in process._ranks.items() if visit not in passed)
