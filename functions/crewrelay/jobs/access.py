"""Bearer tokens: each belongs to one tenant, grants scopes, and names the collections that its jobs may search."""

import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from crewrelay.jobs.errors import ForeignCollection, MissingScope
from crewrelay.jobs.records.job import JobInput

# No "#" and no line feed (pydantic's `$` is the very end): the name is part of table keys and idempotency keys.
TenantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]

CollectionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]

RandomBytes = Callable[[int], bytes]

_PREFIX = "crt_"
_SECRET = 32  # bytes
_WELL_FORMED = re.compile(rf"{_PREFIX}([0-9a-f]{{{2 * _SECRET}}})([0-9a-f]{{8}})")
_ID = 12  # hexadecimal digits


class Scope(StrEnum):
    """Independent permissions: none includes another."""

    RUN = "run"  # submit jobs, and answer what they ask
    READ = "read"  # read them
    ADMIN = "admin"  # cancel, retry and delete them
    WEBHOOKS = "webhooks"  # the tenant's signing secret; deliver again, and to others


class Caller(BaseModel):
    """The tenant that a request acts for, its scopes, and the collections that its jobs may search, the default first;
    if none are named, that of the deployment.
    """

    model_config = ConfigDict(frozen=True)

    tenant: TenantName
    scopes: frozenset[Scope]
    collections: tuple[CollectionName, ...] = ()

    def require(self, scope: Scope) -> None:
        """Raises MissingScope if the caller does not have it."""
        if scope not in self.scopes:
            raise MissingScope(scope)

    def permitted(self, job_input: JobInput) -> JobInput:
        """The input with the collection that its job searches. Raises ForeignCollection."""
        if job_input.collection is None:
            return job_input.model_copy(update={"collection": next(iter(self.collections), None)})
        if job_input.collection not in self.collections:
            raise ForeignCollection(job_input.collection, self.collections)
        return job_input


class Token(BaseModel):
    """A stored token: the SHA-256 of its text, never the text itself."""

    model_config = ConfigDict(frozen=True)

    digest: str
    tenant: TenantName
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    collections: tuple[CollectionName, ...] = ()  # see Caller
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    @property
    def id(self) -> str:
        """A short id for lists and logs; it does not reveal the token."""
        return self.digest[:_ID]

    def valid(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at


class Tokens(Protocol):
    """The token store. Every method may raise Unavailable."""

    def add(self, token: Token) -> None: ...

    def find(self, digest: str) -> Token | None:
        """A consistent read; None if the token is unknown or expired."""

    def of(self, tenant: str | None = None) -> list[Token]:
        """The unexpired tokens of one tenant, or of all, oldest first."""

    def revoke(self, token_id: str, now: datetime) -> Token:
        """Raises UnknownToken. Revoking a revoked token changes nothing."""


def new_text(random: RandomBytes) -> str:
    """A new token's text: a recognisable prefix, random bytes, a checksum."""
    secret = random(_SECRET).hex()
    return f"{_PREFIX}{secret}{_checksum(secret)}"


def digest_of(text: str) -> str | None:
    """The SHA-256 that a token is looked up by, so that token texts are never compared; None if it can't be a token."""
    found = _WELL_FORMED.fullmatch(text)
    if found is None or _checksum(found[1]) != found[2]:
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(secret: str) -> str:
    return f"{binascii.crc32(secret.encode()):08x}"


def issue(
    tokens: Tokens,
    tenant: str,
    scopes: frozenset[Scope],
    now: datetime,
    expires_at: datetime,
    random: RandomBytes,
    collections: Sequence[str] = (),
) -> tuple[str, Token]:
    """Create and store a token. Returns its text, which can't be recovered later, and the stored record."""
    text = new_text(random)
    digest = digest_of(text)
    assert digest
    token = Token(
        digest=digest,
        tenant=tenant,
        scopes=scopes,
        collections=tuple(collections),
        created_at=now,
        expires_at=expires_at,
    )
    tokens.add(token)
    return text, token


def bearer(tokens: Tokens, authorization: str, now: datetime) -> Token | None:
    """The valid token in an Authorization header, or None. Raises Unavailable."""
    scheme, _, text = authorization.strip().partition(" ")
    digest = digest_of(text.strip()) if scheme.lower() == "bearer" else None
    token = tokens.find(digest) if digest else None
    return token if token and token.valid(now) else None
