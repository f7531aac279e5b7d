"""Configures the process's log, with API keys redacted."""

from functools import cache

from crewrelay import logs
from crewrelay.redaction import Redaction
from crewrelay.settings import LogSettings


@cache
def redaction() -> Redaction:
    """The process's redaction: every API key that is read from settings is registered here."""
    return Redaction()


def configure_logs() -> None:
    """May be called again. Raises Misconfigured."""
    logs.configure(LogSettings.read().log_content, redaction().text)
