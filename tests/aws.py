"""Clients of an AWS emulator."""

from typing import Any

import boto3

from crewrelay.local.credentials import REGION, Credentials

TESTS = Credentials("test", "test")  # those of the tests' own emulator


def aws_client(service: str, endpoint_url: str, credentials: Credentials = TESTS) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
    )
