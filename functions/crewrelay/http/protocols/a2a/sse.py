"""Updates as server-sent events."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from crewrelay.jobs.errors import CrewrelayError

STREAM_HEADERS = {"Cache-Control": "no-store"}


async def events(
    updates: Any, form: Callable[[dict[str, Any]], dict[str, Any]], refusal: Callable[[CrewrelayError], dict[str, Any]]
) -> AsyncIterator[str]:
    """Each update in its form. An error in the middle is the last event."""
    try:
        async with aclosing(updates):
            async for update in updates:
                yield _event(form(update))
    except CrewrelayError as error:
        yield _event(refusal(error))


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
