"""Where the local stack leads AWS's clients."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from crewrelay.aws import clients
from crewrelay.local.credentials import Credentials
from crewrelay.local.own_aws import lead_to

EMULATOR = "http://127.0.0.1:9"
OWN = Credentials("own", "own secret")
AWS = """
ACCESS_KEY_ID SECRET_ACCESS_KEY SESSION_TOKEN REGION DEFAULT_REGION PROFILE ENDPOINT_URL ENDPOINT_URL_BEDROCK_RUNTIME
""".split()


@pytest.fixture
def led(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    own = [f"{clients.FOR_BEDROCK}AWS_{name}" for name in AWS]
    for name in (*(f"AWS_{name}" for name in AWS), *own, "AWS_BEARER_TOKEN_BEDROCK", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    caches: tuple[Any, ...] = (clients.bedrock, clients._session)
    for cached in caches:
        cached.cache_clear()
    yield monkeypatch
    for cached in caches:
        cached.cache_clear()


def test_without_credentials_everything_is_the_emulators(led: pytest.MonkeyPatch) -> None:
    led.setenv("AWS_PROFILE", "work")
    lead_to(EMULATOR, OWN)
    assert os.environ["AWS_ENDPOINT_URL"] == EMULATOR
    assert (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]) == OWN
    assert "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" not in os.environ
    assert "AWS_PROFILE" not in os.environ


@pytest.mark.parametrize("region", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_with_credentials_bedrock_is_asked_in_its_region_and_the_emulator_in_its_own(
    led: pytest.MonkeyPatch, region: str
) -> None:
    led.setenv("AWS_ACCESS_KEY_ID", "mine")
    led.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    led.setenv("AWS_SESSION_TOKEN", "session")
    led.setenv(region, "eu-central-1")
    lead_to(EMULATOR, OWN)
    assert os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == "https://bedrock-runtime.eu-central-1.amazonaws.com"
    assert (os.environ["AWS_REGION"], os.environ["AWS_DEFAULT_REGION"]) == ("eu-central-1", "us-east-1")
    signing = clients.bedrock()._get_credentials()  # type: ignore[attr-defined]
    assert (signing.access_key, signing.secret_key, signing.token) == ("mine", "secret", "session")
    assert (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]) == OWN
    assert "AWS_SESSION_TOKEN" not in os.environ
