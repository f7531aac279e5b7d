"""Processes whose threads run one at a time, each up to its next stop: at a request to the world, a lock, a wait.

Whoever holds the schedule lets one strand go on, or kills a process, and gets the turn back when all strands have
stopped again. So what happens is decided by the schedule alone, and happens in the same way each time.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")

TIMEOUT = 20  # real seconds until a strand that does not come to a stop has hung

_here = threading.local()  # .strand is the calling thread's


class Fate(StrEnum):
    """What becomes of a request."""

    DONE = "done"
    LOST = "lost"  # it never arrived
    REPLY_LOST = "reply lost"  # it was executed
    REFUSED = "refused"  # for good: only models do so
    DELAYED = "delayed"  # nobody waits for its reply any more, and it may still arrive
    DOUBLED = "doubled"  # its first try was given up, its second was executed, and the first may still arrive
    SURPRISE = "surprise"  # an error that nobody has thought of


class Killed(BaseException):
    """The process is dead: nothing of it happens any more."""


class Strand:
    def __init__(self, process: "Process", name: str) -> None:
        self.process = process
        self.name = name
        self.at: str | None = None  # what it has stopped at; None while it runs, and once it is over
        self.over = False
        self.ready: Callable[[], bool] = bool
        self._fate = Fate.DONE

    def stop(self, at: str, ready: Callable[[], bool] = lambda: True) -> Fate:
        """On the strand's own thread: stop here until it is let go on, which it is only once it is `ready`."""
        turn = self.process.schedule.turn
        with turn:
            if not self.process.dead:
                self.at, self.ready = at, ready
                turn.notify_all()
                turn.wait_for(lambda: self.at is None)
            if self.process.dead:
                raise Killed
            return self._fate

    def go_on(self, fate: Fate = Fate.DONE) -> None:
        schedule = self.process.schedule
        with schedule.turn:
            self._fate, self.at = fate, None
            schedule.turn.notify_all()
        schedule.settle()

    def end(self) -> None:
        turn = self.process.schedule.turn
        with turn:
            self.at, self.over = None, True
            turn.notify_all()

    @property
    def quiet(self) -> bool:
        return self.over or self.at is not None or self.process.dead


class Lock:
    """A threading.Lock at which a strand stops while another one has it."""

    def __init__(self) -> None:
        self._taken = False

    def __enter__(self) -> None:
        while self._taken:
            _here.strand.stop("lock", lambda: not self._taken)
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False


class Condition:
    """A threading.Condition, reentrant, at which a strand stops while another one has it or until it is notified."""

    def __init__(self) -> None:
        self._owner: Strand | None = None
        self._depth = 0
        self._notified = 0

    def __enter__(self) -> None:
        while self._owner not in (None, _here.strand):
            _here.strand.stop("condition", lambda: self._owner is None)
        self._owner, self._depth = _here.strand, self._depth + 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None

    def wait(self) -> None:
        seen, depth = self._notified, self._depth
        self._owner, self._depth = None, 0
        _here.strand.stop("condition", lambda: self._notified > seen and self._owner is None)
        self._owner, self._depth = _here.strand, depth

    def notify_all(self) -> None:
        self._notified += 1


class Process:
    """One invocation of a function: a main strand, and a crew's with those that it starts, if it runs one. Its clock is
    off by `skew`.
    """

    def __init__(self, schedule: "Schedule", name: str, skew: timedelta, work: Callable[["Process"], Any]) -> None:
        self.schedule = schedule
        self.name = name
        self.dead = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.main = Strand(self, name)
        self.crew: Strand | None = None
        self.strands = [self.main]
        self._skew = skew
        self._crew_has_begun = threading.Event()
        self._crew_has_ended = False
        self._outcome: Future[Any] | None = None
        threading.Thread(target=self._run, args=(work,), name=name, daemon=True).start()

    def clock(self) -> datetime:
        return self.schedule.now + self._skew

    @property
    def over(self) -> bool:
        """Nobody waits for its result any more; its crew may go on for a while."""
        return self.dead or self.main.over

    @property
    def strand(self) -> Strand:
        """That of the calling thread; a sweeper's one-thread pool works while its main strand waits for it."""
        strand: Strand = getattr(_here, "strand", self.main)
        return strand

    def kill(self) -> None:
        with self.schedule.turn:
            self.dead = True
            for strand in self.strands:
                strand.at = None
            self.schedule.turn.notify_all()
        self.schedule.settle()

    def wait(self, outcome: "Future[Any]", seconds: float) -> bool:
        """The domain's Wait port, by the schedule's clock."""
        if self.strand is self.main:
            assert self._crew_has_begun.wait(TIMEOUT)
            self._outcome = outcome
            outcome.add_done_callback(lambda _: self._settle_crew())
        until = self.schedule.now + timedelta(seconds=seconds)
        self.strand.stop("waiting", lambda: outcome.done() or self.schedule.now >= until)
        return outcome.done()

    def begin_crew(self) -> None:
        """On the crew's thread, before it does anything."""
        self.crew = _here.strand = Strand(self, f"{self.name} crew")
        self._follow(self.crew)
        self._crew_has_begun.set()

    def together(self, works: Sequence[Callable[[], T]]) -> list[T]:
        """On the crew's thread: all of them at once, each on a strand of its own. Raises the first error."""
        outcomes: list[Future[T]] = [Future() for _ in works]
        strands = [Strand(self, f"{self.name} call {number}") for number in range(len(works))]

        def run(strand: Strand, work: Callable[[], T], outcome: Future[T]) -> None:
            _here.strand = strand
            try:
                strand.stop("starting")
                outcome.set_result(work())
            except BaseException as error:
                outcome.set_exception(error)
            finally:
                strand.end()

        for strand, work, outcome in zip(strands, works, outcomes, strict=True):
            self._follow(strand)
            threading.Thread(target=run, args=(strand, work, outcome), daemon=True).start()
        _here.strand.stop("joining", lambda: all(strand.over for strand in strands))
        return [outcome.result() for outcome in outcomes]

    def _follow(self, strand: Strand) -> None:
        self.strands.append(strand)
        with self.schedule.turn:
            self.schedule.strands.append(strand)

    def end_crew(self) -> None:
        """On the crew's thread: it has nothing more to ask, and its outcome is set at once if it isn't yet."""
        self._crew_has_ended = True
        self._settle_crew()

    def _settle_crew(self) -> None:
        if self.crew and self._crew_has_ended and self._outcome and self._outcome.done():
            self.crew.end()

    def _run(self, work: Callable[["Process"], Any]) -> None:
        _here.strand = self.main
        try:
            self.result = work(self)
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.main.end()


class Schedule:
    """All processes, and the time."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.turn = threading.Condition()
        self.strands: list[Strand] = []
        self.processes: list[Process] = []

    def start(self, name: str, work: Callable[[Process], Any], skew: timedelta = timedelta()) -> Process:
        process = Process(self, f"{name} {len(self.processes)}", skew, work)
        self.processes.append(process)
        self.strands.append(process.main)
        self.settle()
        return process

    def settle(self) -> None:
        """Wait until every strand has come to a stop."""
        with self.turn:
            assert self.turn.wait_for(lambda: all(strand.quiet for strand in self.strands), TIMEOUT), [
                (strand.name, strand.at, strand.over) for strand in self.strands
            ]

    @property
    def ready(self) -> list[Strand]:
        return [strand for strand in self.strands if strand.at is not None and strand.ready()]
