"""Who may call: a bearer token speaks for a tenant, and may do what its scopes say."""

import binascii
import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from crewrelay.jobs.errors import MissingScope

# No "#" and no line feed (pydantic's `$` is the very end): names stand in keys, of the table and of idempotency.
TenantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]

RandomBytes = Callable[[int], bytes]

_PREFIX = "crt_"
_SECRET = 32  # bytes
_WELL_FORMED = re.compile(rf"{_PREFIX}([0-9a-f]{{{2 * _SECRET}}})([0-9a-f]{{8}})")
_ID = 12  # hexadecimal digits


class Scope(StrEnum):
    """Each grants what it says, and none of the others."""

    RUN = "run"  # start jobs
    READ = "read"  # read them
    ADMIN = "admin"  # cancel them, try them again


class Caller(BaseModel):
    """For whom a request is made, and what it may do."""

    model_config = ConfigDict(frozen=True)

    tenant: TenantName
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raises MissingScope."""
        if scope not in self.scopes:
            raise MissingScope(scope)


class Token(BaseModel):
    """A token as it is kept: by the SHA-256 of its text, which nobody keeps."""

    model_config = ConfigDict(frozen=True)

    digest: str
    tenant: TenantName
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    @property
    def id(self) -> str:
        """To speak of it without giving it away."""
        return self.digest[:_ID]

    def valid(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at


class Tokens(Protocol):
    """Where tokens are kept. Every method may raise Unavailable."""

    def add(self, token: Token) -> None: ...

    def find(self, digest: str) -> Token | None:
        """A consistent read; None if there is none or it has expired."""

    def of(self, tenant: str | None = None) -> list[Token]:
        """Those that have not expired, of one tenant or all, the oldest first."""

    def revoke(self, token_id: str, now: datetime) -> Token:
        """Raises UnknownToken. A token that is revoked already stays as it is."""


def new_text(random: RandomBytes) -> str:
    """A new token: told by its prefix, and by a checksum from what only looks like one."""
    secret = random(_SECRET).hex()
    return f"{_PREFIX}{secret}{_checksum(secret)}"


def digest_of(text: str) -> str | None:
    """What a token is looked up by: no text and no part of it is ever compared. None for what can't be a token."""
    found = _WELL_FORMED.fullmatch(text)
    if found is None or _checksum(found[1]) != found[2]:
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(secret: str) -> str:
    return f"{binascii.crc32(secret.encode()):08x}"


def issue(
    tokens: Tokens, tenant: str, scopes: frozenset[Scope], now: datetime, expires_at: datetime, random: RandomBytes
) -> tuple[str, Token]:
    """Make a token; its text, which can't be had again, and what is kept of it."""
    text = new_text(random)
    digest = digest_of(text)
    assert digest
    token = Token(digest=digest, tenant=tenant, scopes=scopes, created_at=now, expires_at=expires_at)
    tokens.add(token)
    return text, token


def bearer(tokens: Tokens, authorization: str, now: datetime) -> Token | None:
    """The valid token that an Authorization header bears, if any. Raises Unavailable."""
    scheme, _, text = authorization.strip().partition(" ")
    digest = digest_of(text.strip()) if scheme.lower() == "bearer" else None
    token = tokens.find(digest) if digest else None
    return token if token and token.valid(now) else None
