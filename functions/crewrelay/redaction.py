"""Keeps the models' keys out of what is written down: a server may echo one, and CrewAI logs whatever a server says."""

import logging

logger = logging.getLogger(__name__)

_GONE = "[redacted]"
_SHORTEST = 8  # characters: a shorter key is no secret, and stands in words that are none either


class Redaction:
    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()  # the longest first: one may be part of another

    def hide(self, secret: str) -> None:
        """From now on, unless it is too short. Safe to call while other threads write."""
        if len(secret) >= _SHORTEST:
            self._secrets = tuple(sorted({*self._secrets, secret}, key=len, reverse=True))
        elif secret:
            logger.warning("A key of fewer than %d characters is in use: it is not kept out of the log", _SHORTEST)

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _GONE)
        return text
