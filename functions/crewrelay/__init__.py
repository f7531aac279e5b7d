"""crewrelay: durable CrewAI crews on AWS Lambda."""

from collections.abc import Callable
from typing import Any, TypeVar

__version__ = "0.1.0"

_T = TypeVar("_T")
# In a process that runs crews: crews/journal/steps.py and crews/journal/humans.py.
_journaled: Callable[..., Any] | None = None
_answered: Callable[..., str | None] | None = None


def step(name: str, function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
    """What the function returns. In a job it is journaled, and a resumed job does not call the function again.

    Elsewhere this is a plain call. The arguments tell steps of one name apart. They and the result are what
    JSON can hold, else a job's step raises TypeError. What the function raises is not journaled.
    """
    result: _T = (_journaled or _plain)(name, function, *args, **kwargs)
    return result


def ask(
    message: str, *, options: tuple[str, ...] = (), default: str | None = None, timeout: float | None = None
) -> str:
    """What a human says: a text, or one of the options if there are any.

    In a job, the job waits for the answer, without a process, and is told the same whenever it is resumed. After
    `timeout` seconds (None: seven days) it goes on with the default, or fails if there is none. Elsewhere this asks in
    the terminal.
    """
    answer = _answered(message, options, default, timeout) if _answered else None
    return input(f"{message} {' / '.join(options)} ") if answer is None else answer


def journal_by(journaled: Callable[..., Any], answered: Callable[..., str | None]) -> None:
    """From now on, in this process."""
    global _journaled, _answered
    _journaled, _answered = journaled, answered


def _plain(name: str, function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
    return function(*args, **kwargs)
