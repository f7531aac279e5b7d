"""The journal of the run that the current context belongs to. model_seam.py and tool_seam.py send every call to it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from crewrelay.crews.journal.workplace import Workplace
from crewrelay.jobs.ports import Calls, RelayDue
from crewrelay.jobs.records.questions import Feedback, Question
from crewrelay.jobs.running.run import RunStopped
from crewrelay.prices import Prices


class NotInTheRun(Exception):
    """A call that no journal can keep, because it is made outside the context of its run."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is called in a thread that does not know its job, so it can't be journaled: start the thread with "
            "the context, as in executor.submit(contextvars.copy_context().run, function)."
        )


@dataclass(frozen=True)
class Journal:
    """`ended` has the errors that ended the run, also those that the crew has caught since."""

    calls: Calls
    prices: Prices = field(default_factory=Prices)
    default_model: Callable[[], Any] | None = None  # makes the model of an agent for which none is named
    workplace: Workplace | None = None
    ended: list[BaseException] = field(default_factory=list)
    tool: object = None  # the tool that is running
    within: dict[str, Any] | None = None  # its request
    memories: dict[str, dict[str, Any]] = field(default_factory=dict)  # see remembered.py

    def end(self, error: BaseException) -> None:
        """End the run with this error, even if the crew catches it."""
        self.ended.append(error)
        self.calls.stop(error)
        if isinstance(error, RunStopped | RelayDue):
            mark_as_logged(error)


class _Asking:
    """Stands for the journal while a journaled call is made: what its provider calls belongs to that call."""


_ASKING = _Asking()
_journal: ContextVar[Journal | _Asking | None] = ContextVar("journal", default=None)
_turn = threading.Lock()
_runs = 0  # of this process, at the moment


def mark_as_logged(error: BaseException) -> None:
    """CrewAI logs every exception that passes through its flow as an error, unless it was logged before."""
    vars(error)["_flow_listener_logged"] = True


def in_a_run() -> bool:
    return _journal.get() is not None


def journal_for(what: str) -> Journal | None:
    """Where a call is to be journaled; None if it belongs to no run, or to a call that is being journaled.

    Raises NotInTheRun if runs are under way, and this is none of them.
    """
    journal = _journal.get()
    if journal is None and _runs:
        raise NotInTheRun(what)
    return journal if isinstance(journal, Journal) else None


def asked_of_a_human(question: Question) -> Feedback | None:
    """The answer to a question of the run; None outside of a run. Raises RunStopped while there is no answer."""
    journal = journal_for("a human")
    if journal is None:
        return None
    try:
        return journal.calls.ask(question)
    except BaseException as error:
        journal.end(error)
        raise


def default_model() -> Any:
    """A model for an agent for which none is named; None if that is up to CrewAI."""
    journal = _journal.get()
    return journal.default_model() if isinstance(journal, Journal) and journal.default_model else None


def workplace() -> Workplace | None:
    journal = _journal.get()
    return journal.workplace if isinstance(journal, Journal) else None


def current(calls: Calls, prices: Prices | None = None) -> Journal:
    """The journal of the current context if it has these calls, else a new one."""
    journal = _journal.get()
    if isinstance(journal, Journal) and journal.calls is calls:
        return journal
    return Journal(calls, prices or Prices())


@contextmanager
def journaling(
    calls: Calls,
    prices: Prices | None = None,
    default_model: Callable[[], Any] | None = None,
    workplace: Workplace | None = None,
) -> Iterator[None]:
    """Every call of a model or tool that is made in here, or on a thread with a copy of this context, is journaled."""
    global _runs
    with _turn:
        _runs += 1
    try:
        with _put(Journal(calls, prices or Prices(), default_model, workplace)):
            yield
    finally:
        with _turn:
            _runs -= 1


@contextmanager
def _put(value: Journal | _Asking) -> Iterator[None]:
    token = _journal.set(value)
    try:
        yield
    finally:
        _journal.reset(token)


def asking() -> Any:
    """While a model is asked."""
    return _put(_ASKING)


def under_way(journal: Journal, tool: object, request: dict[str, Any]) -> Any:
    """While a tool runs. What it calls is journaled by itself, so that nothing is paid twice if it is interrupted. What
    it remembers is forgotten with it: else the same call, made again, would know it, but not in a run that has replayed
    the first one.
    """
    return _put(replace(journal, tool=tool, within=request, memories=dict(journal.memories)))
