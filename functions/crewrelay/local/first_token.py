"""The token that a new local stack prints, valid for a day."""

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from crewrelay.aws.tokens import DynamoTokens
from crewrelay.jobs.access import Scope, issue
from crewrelay.system import utcnow

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def first_token(dynamodb: "DynamoDBClient", table: str, tenant: str) -> str:
    """Create the token. Returns its Authorization header and a description."""
    now = utcnow()
    tokens = DynamoTokens(dynamodb, table, utcnow)
    text, token = issue(tokens, tenant, frozenset(Scope), now, now + timedelta(days=1), secrets.token_bytes)
    return f"Authorization: Bearer {text} (tenant {token.tenant}, every scope, for a day)"
