"""Builds the token store, in the table of the jobs."""

from crewrelay.aws.clients import dynamodb
from crewrelay.aws.tokens import DynamoTokens
from crewrelay.system import utcnow


def tokens(table: str) -> DynamoTokens:
    return DynamoTokens(dynamodb(), table, utcnow)
