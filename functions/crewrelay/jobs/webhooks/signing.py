"""A tenant's signing secrets, and signatures of webhooks by Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from crewrelay.jobs.access import RandomBytes
from crewrelay.jobs.errors import StaleWrite

_PREFIX = "whsec_"
_LENGTH = 32  # bytes
OVERLAP = timedelta(hours=24)  # how long the secret before signs as well


class SigningSecret(BaseModel):
    """The secret of one tenant; after a rotation with the one before, while that one is valid."""

    model_config = ConfigDict(frozen=True)

    tenant: str
    revision: int = 1
    current: str
    created_at: datetime
    previous: str | None = None
    previous_until: datetime | None = None

    def valid(self, now: datetime) -> tuple[str, ...]:
        """The secrets to sign with, the current one first."""
        if self.previous and self.previous_until and now < self.previous_until:
            return self.current, self.previous
        return (self.current,)


class SigningSecrets(Protocol):
    """Every method may raise Unavailable."""

    def load(self, tenant: str) -> SigningSecret | None:
        """A consistent read."""

    def save(self, before: SigningSecret | None, after: SigningSecret) -> None:
        """Raises StaleWrite if the row no longer is `before`; None: if there is a row."""


def secret_of(secrets: SigningSecrets, tenant: str, now: datetime, random: RandomBytes) -> SigningSecret:
    """The tenant's secret, made when it is first asked for. Raises Unavailable."""
    found = secrets.load(tenant)
    if found is None:
        found = SigningSecret(tenant=tenant, current=_new(random), created_at=now)
        try:
            secrets.save(None, found)
        except StaleWrite:
            return secret_of(secrets, tenant, now, random)
    return found


def rotate(secrets: SigningSecrets, tenant: str, now: datetime, random: RandomBytes) -> SigningSecret:
    """A new secret; the one before stays valid for a day. Raises StaleWrite if another one rotates at the same time."""
    before = secret_of(secrets, tenant, now, random)
    after = SigningSecret(
        tenant=tenant,
        revision=before.revision + 1,
        current=_new(random),
        created_at=now,
        previous=before.current,
        previous_until=now + OVERLAP,
    )
    secrets.save(before, after)
    return after


def signed(secret: SigningSecret, message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """The headers of a message, signed with every valid secret."""
    timestamp = str(int(now.timestamp()))
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [_signature(text, content) for text in secret.valid(now)]
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return f"v1,{base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()}"


def _new(random: RandomBytes) -> str:
    return _PREFIX + base64.b64encode(random(_LENGTH)).decode()
