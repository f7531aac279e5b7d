"""Removes API keys from text: a server may echo one, and CrewAI logs its messages."""

import logging

logger = logging.getLogger(__name__)

_GONE = "[redacted]"
SHORTEST = 8  # characters: a shorter key is not secret, and replacing it would garble other words


class Redaction:
    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()  # longest first: one may be part of another

    def hide(self, secret: str) -> None:
        """Remove this secret from now on, unless it is too short. Thread-safe."""
        if len(secret) >= SHORTEST:
            self._secrets = tuple(sorted({*self._secrets, secret}, key=len, reverse=True))
        elif secret:
            logger.warning("A key shorter than %d characters is in use: it is not removed from the log", SHORTEST)

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _GONE)
        return text
