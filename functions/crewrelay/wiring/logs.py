"""The log of this process, without the keys that it uses."""

from functools import cache

from crewrelay import logs
from crewrelay.redaction import Redaction
from crewrelay.settings import LogSettings


@cache
def redaction() -> Redaction:
    """One for the process: whatever is told a key, the log leaves it out."""
    return Redaction()


def configure_logs() -> None:
    """May be called again. Raises Misconfigured."""
    logs.configure(LogSettings.read().log_content, redaction().text)
