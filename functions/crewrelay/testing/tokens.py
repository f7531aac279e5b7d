"""Tokens."""

from datetime import datetime

from crewrelay.jobs.access import Token
from crewrelay.jobs.errors import UnknownToken
from crewrelay.jobs.ports import Clock


class MemoryTokens:
    """Tokens in memory; passes the same contract tests as the table (tests/integration/test_tokens_contract.py)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.kept: dict[str, Token] = {}

    def add(self, token: Token) -> None:
        self.kept[token.digest] = token

    def find(self, digest: str) -> Token | None:
        token = self.kept.get(digest)
        return token if token and token.expires_at > self._clock() else None

    def of(self, tenant: str | None = None) -> list[Token]:
        found = [t for t in self.kept.values() if t.expires_at > self._clock() and tenant in (None, t.tenant)]
        return sorted(found, key=lambda token: (token.created_at, token.digest))

    def revoke(self, token_id: str, now: datetime) -> Token:
        for token in self.of():
            if token.id == token_id:
                if token.revoked_at is None:
                    token = self.kept[token.digest] = token.model_copy(update={"revoked_at": now})
                return token
        raise UnknownToken(f"There is no token {token_id}.")
