"""Bedrock's client for a model of CrewAI's."""

from typing import Any

from crewrelay.aws.clients import bedrock


class BedrockClient:
    """boto3's client with OpenAI's way of giving one call another timeout. Safe to use from many threads at once."""

    def __init__(self, timeout: float) -> None:
        """`timeout` bounds one read, in seconds. Raises Misconfigured."""
        self.timeout = timeout
        self._client = bedrock(timeout)

    def with_options(self, *, timeout: float) -> "BedrockClient":
        """A client of boto3's takes 9 ms and connections of its own to make, so there is one for each whole second."""
        return BedrockClient(int(timeout))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
