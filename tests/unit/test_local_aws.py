"""Where the local stack leads AWS's clients."""

import os

import pytest

from crewrelay.local.stack import _lead_to

EMULATOR = "http://127.0.0.1:9"
AWS = "ACCESS_KEY_ID SECRET_ACCESS_KEY REGION DEFAULT_REGION PROFILE ENDPOINT_URL ENDPOINT_URL_BEDROCK_RUNTIME".split()


@pytest.fixture
def led(monkeypatch: pytest.MonkeyPatch) -> "pytest.MonkeyPatch":
    for name in (*(f"AWS_{name}" for name in AWS), "AWS_BEARER_TOKEN_BEDROCK", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    return monkeypatch


def test_without_credentials_everything_is_the_emulators(led: pytest.MonkeyPatch) -> None:
    led.setenv("AWS_PROFILE", "work")
    _lead_to(EMULATOR)
    assert os.environ["AWS_ENDPOINT_URL"] == EMULATOR
    assert os.environ["AWS_ACCESS_KEY_ID"] == "local"
    assert "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" not in os.environ
    assert "AWS_PROFILE" not in os.environ


@pytest.mark.parametrize("region", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_with_credentials_bedrock_is_asked_in_its_region_and_the_emulator_in_its_own(
    led: pytest.MonkeyPatch, region: str
) -> None:
    led.setenv("AWS_ACCESS_KEY_ID", "mine")
    led.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    led.setenv(region, "eu-central-1")
    _lead_to(EMULATOR)
    assert os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == "https://bedrock-runtime.eu-central-1.amazonaws.com"
    assert (os.environ["AWS_REGION"], os.environ["AWS_DEFAULT_REGION"]) == ("eu-central-1", "us-east-1")
    assert os.environ["AWS_ACCESS_KEY_ID"] == "mine"
