"""How long a caller wants to wait for the answer: `Prefer: wait=N` and `respond-async`.

What can't be understood is ignored, and of what is said twice the first counts: https://www.rfc-editor.org/rfc/rfc7240
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

_LONGEST = 10  # digits of a number


class Preference(NamedTuple):
    """`timeout` is how long to wait, counted from receipt; `wait` is the number of seconds to say of it, if any."""

    timeout: timedelta
    respond_async: bool
    wait: int | None

    def applied(self, answered: bool) -> dict[str, str]:
        """The header that says what was done."""
        said = ["respond-async"] * (self.respond_async and not answered)
        said += [f"wait={self.wait}"] * (self.wait is not None)
        return {"Preference-Applied": ", ".join(said)} if said else {}


def preference(headers: Sequence[str], longest: timedelta) -> Preference:
    """What the Prefer headers of a request ask for, within the `longest` wait that the gateway allows."""
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
