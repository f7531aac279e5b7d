"""Which jobs share a process, which one runs alone, and when the process must restart."""

import logging
import threading
from concurrent.futures import wait
from types import TracebackType

from crewrelay.jobs.running.stray import Stray

logger = logging.getLogger(__name__)

_ORDINARY = 0
_MOST_LOOKS = 100  # at a crew that waits for a reply: some replies never come


class Process:
    """Ordinary jobs share it. A suspect, which may have crashed an earlier process, runs alone: no other job is lost
    with it, and if this process dies too, the cause is known.

    A crew that still runs after its run has ended can't be stopped from outside. It holds a thread, perhaps a core, as
    long as the process lives, so a process with such a crew restarts soon.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards everything below
        self._ranks: dict[Visit, int] = {}  # of running and waiting jobs: 0 for ordinary ones, higher for suspects
        self._isolated: Visit | None = None  # the running suspect
        self._in_need: set[Visit] = set()  # suspects that have waited too long: ordinary jobs yield to them
        self._waiting: set[Visit] = set()  # ordinary jobs waiting for suspects to end
        self._strays: list[Stray] = []
        self.retired = False

    @property
    def takes_jobs(self) -> bool:
        """False while suspects are present, which would starve if jobs kept coming, and once the process is retired."""
        with self._changed:
            return not (self.retired or any(self._ranks.values()))

    def visit(self) -> "Visit":
        return Visit(self)

    def leave_behind(self, stray: Stray) -> None:
        """Remember a crew that still runs after its run; is_sound checks on it later."""
        with self._changed:
            self._strays.append(stray)

    def retire(self, stray: Stray) -> None:
        """Take no more jobs and hand back the running ones, because this crew does not stop."""
        said = {"job_id": stray.job_id, "where": stray.where}
        logger.warning("a crew does not come back: this process must restart", extra=said)
        with self._changed:
            self.retired = True
            self._changed.notify_all()

    def is_sound(self, grace: float) -> bool:
        """Whether the crews left behind have ended, waiting up to `grace` seconds for each; one that waits for a reply
        is checked again next time. If False, the process must restart once it holds no job.
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
    """A job's time in the process, from the first look at it to the end of its run. It counts as ordinary until found
    to be a suspect, so that of jobs arriving together the ordinary ones go first.
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
        """Whether its run must end soon: a suspect has waited too long, or the process is to restart."""
        process = self._process
        with process._changed:
            return process.retired or (bool(process._in_need) and process._isolated is not self)

    def may_share(self, seconds: float) -> bool:
        """Wait up to `seconds` until no suspect runs or has waited too long. Returns whether that happened before the
        process was retired.
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
        """Wait up to `seconds` until no other job runs and no suspect with fewer failures waits. Returns whether that
        happened; never in a retired process. After `timeout` seconds running ordinary jobs are told to end and no new
        ones start.
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
