"""crewrelay: durable CrewAI crews on AWS Lambda."""

from collections.abc import Callable
from typing import Any, TypeVar

__version__ = "0.1.0"

_T = TypeVar("_T")
_journaled: Callable[..., Any] | None = None  # in a process that runs crews, crews/steps.py


def step(name: str, function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
    """What the function returns. In a job it is journaled, and a resumed job does not call the function again.

    Elsewhere this is a plain call. The arguments tell steps of one name apart. They and the result are what
    JSON can hold, else a job's step raises TypeError. What the function raises is not journaled.
    """
    result: _T = (_journaled or _plain)(name, function, *args, **kwargs)
    return result


def journal_steps_by(journaled: Callable[..., Any]) -> None:
    """From now on, in this process."""
    global _journaled
    _journaled = journaled


def _plain(name: str, function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
    return function(*args, **kwargs)
