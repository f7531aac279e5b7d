"""Messages `{"upload": batch id}` of the intake queue: somebody is to go on with a batch's file."""

import json
from typing import Any


def batch_of(body: str) -> str | None:
    """The batch that a bell is for; None if the message is another."""
    if '"upload"' not in body[:20]:
        return None
    try:
        message: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match message:
        case {"upload": str(batch_id), **others} if not others:
            return batch_id
    return None
