"""The `Prefer` header: `wait=N` and `respond-async` say how long a caller wants to wait for the answer.

Unknown and malformed preferences are ignored, the first of two counts: https://www.rfc-editor.org/rfc/rfc7240
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

_LONGEST = 10  # digits of a number


class Preference(NamedTuple):
    """`timeout` counts from receipt. `wait` is what `Preference-Applied` says of it, in seconds, if anything."""

    timeout: timedelta
    respond_async: bool
    wait: int | None

    def applied(self, answered: bool) -> dict[str, str]:
        """The header `Preference-Applied`."""
        said = ["respond-async"] * (self.respond_async and not answered)
        said += [f"wait={self.wait}"] * (self.wait is not None)
        return {"Preference-Applied": ", ".join(said)} if said else {}


def preference(headers: Sequence[str], longest: timedelta) -> Preference:
    """The preferences in a request's headers. `longest` is the wait that the gateway allows."""
    asked: dict[str, str] = {}
    for part in ",".join(headers).split(","):
        name, _, value = part.split(";")[0].partition("=")
        asked.setdefault(name.strip().lower(), value.strip().strip('"'))
    seconds = asked.get("wait", "")
    respond_async = "respond-async" in asked
    if seconds.isascii() and seconds.isdigit() and len(seconds) <= _LONGEST:
        wait = min(int(seconds), int(longest.total_seconds()))
        return Preference(min(timedelta(seconds=int(seconds)), longest), respond_async, wait)
    return Preference(timedelta() if respond_async else longest, respond_async, None)
