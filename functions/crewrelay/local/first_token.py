"""The token that a local stack prints at its start, valid for a day."""

import secrets
from datetime import timedelta

from crewrelay.jobs.access import Scope, Tokens, issue
from crewrelay.system import utcnow


def first_token(tokens: Tokens, tenant: str) -> str:
    """Create the token. Returns its Authorization header and a description."""
    now = utcnow()
    text, token = issue(tokens, tenant, frozenset(Scope), now, now + timedelta(days=1), secrets.token_bytes)
    return f"Authorization: Bearer {text} (tenant {token.tenant}, every scope, for a day)"
