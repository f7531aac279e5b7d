"""Clients of an AWS emulator."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from crewrelay.local.credentials import REGION, Credentials
from tests.support.processes import listening

TESTS = Credentials("test", "test")  # those of the tests' own emulator


@contextmanager
def emulator_of_tests(module: str = "crewrelay.local.emulator") -> Iterator[str]:
    """The URL of an emulator of their own."""
    with listening(module, env=os.environ | TESTS.variables) as port:
        yield f"http://127.0.0.1:{port}"


def exported(file: Path) -> dict[str, str]:
    """The variables in a file that leads a shell's clients to an emulator."""
    return dict(line.removeprefix("export ").split("=", 1) for line in file.read_text().splitlines())


def aws_client(service: str, endpoint_url: str, credentials: Credentials = TESTS) -> Any:
    config = Config(signature_version="s3v4") if service == "s3" else None  # as the product signs its URLs
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint_url,
        config=config,
        region_name=REGION,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
    )


class AwsClients:
    """One of each service for many tests. With whom one has registered handlers is not given to another."""

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._clean: dict[str, Any] = {}
        self._open = ExitStack()

    def get(self, service: str) -> Any:
        if service not in self._clean:
            client = aws_client(service, self._endpoint_url)
            self._open.callback(client.close)
            self._clean[service] = client
            events = client.meta.events
            events.register = self._registering(service, events.register)
        return self._clean[service]

    def _registering(self, service: str, register: Callable[..., None]) -> Callable[..., None]:
        def registering(*arguments: Any, **options: Any) -> None:
            self._clean.pop(service, None)
            register(*arguments, **options)

        return registering

    def close(self) -> None:
        self._open.close()
