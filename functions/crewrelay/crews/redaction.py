"""Keeps the model's key out of what is written down: a server may echo it, and CrewAI logs whatever a server says."""

import logging
from collections.abc import Sequence

_GONE = "[redacted]"


class Redaction:
    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret for secret in secrets if secret]

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _GONE)
        return text

    def cover_logs(self) -> None:
        """Redact what every handler of this process formats: message, exception and all, on whichever logger."""
        if not self._secrets:
            return
        plain = logging.Handler.format

        def redacted(handler: logging.Handler, record: logging.LogRecord) -> str:
            return self.text(plain(handler, record))

        logging.Handler.format = redacted  # type: ignore[method-assign,assignment]
