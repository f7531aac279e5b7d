"""Keeps the model's key out of what is written down: a server may echo it, and CrewAI logs whatever a server says."""

import logging
from collections.abc import Sequence
from typing import Any

_GONE = "[redacted]"


class Redaction:
    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret for secret in secrets if secret]

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _GONE)
        return text

    def cover_logs(self) -> None:
        """Redact every record of this process when it is made, whichever logger and handler it is for."""
        if not self._secrets:
            return
        plain = logging.getLogRecordFactory()

        def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = plain(*args, **kwargs)
            record.msg, record.args = self.text(record.getMessage()), None
            if record.exc_info:
                record.exc_text = self.text(logging.Formatter().formatException(record.exc_info))
                record.exc_info = None
            return record

        logging.setLogRecordFactory(factory)
