"""Keeps the models' keys out of what is written down: a server may echo one, and CrewAI logs whatever a server says."""

import logging

_GONE = "[redacted]"


class Redaction:
    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def hide(self, secret: str) -> None:
        """From now on. Safe to call while other threads write."""
        if secret:
            self._secrets = {*self._secrets, secret}

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _GONE)
        return text

    def cover_logs(self) -> None:
        """Redact what every handler of this process formats: message, exception and all, on whichever logger."""
        plain = logging.Handler.format

        def redacted(handler: logging.Handler, record: logging.LogRecord) -> str:
            return self.text(plain(handler, record))

        logging.Handler.format = redacted  # type: ignore[method-assign,assignment]
