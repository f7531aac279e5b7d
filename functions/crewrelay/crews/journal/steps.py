"""Journals a side effect of a project's own code: `crewrelay.step`. Imports nothing heavy."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from crewrelay.crews.journal.ambient import Journal, journal_for, under_way
from crewrelay.jobs.records.journal import Kind, Reply

T = TypeVar("T")


def step(name: str, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """See `crewrelay.step`."""
    journal = journal_for(f"the step {name}")
    return function(*args, **kwargs) if journal is None else _journaled(journal, name, function, args, kwargs)


def _journaled(
    journal: Journal, name: str, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> T:
    arguments = _plain([list(args), kwargs], f"an argument of the step {name}", "let the function know it by itself")
    request: dict[str, Any] = {"step": name, "arguments": arguments}
    if journal.within:
        request["within"] = journal.within
    raised: list[BaseException] = []

    def pay() -> Reply:
        try:
            with under_way(journal, function, request):
                result = function(*args, **kwargs)
        except BaseException as error:
            raised.append(error)
            raise
        if journal.ended:  # by a call that the function made, and has caught
            raise journal.ended[0]
        return Reply(body=json.dumps(_plain(result, f"the result of the step {name}", "return what JSON can hold")))

    try:
        reply: T = json.loads(journal.calls.call(Kind.TOOL, request, pay).body)
    except BaseException as error:
        if error not in raised:
            journal.end(error)
        raise
    return reply


def _plain(value: Any, what: str, remedy: str) -> Any:
    """The value, if JSON keeps it as it is. Raises TypeError."""
    try:
        kept = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        kept = None
    if kept != value:
        raise TypeError(f"JSON does not keep {what}, of type {type(value).__name__}, as it is; {remedy}.")
    return value
