"""Importing a handler that somebody waits for costs little more than what it is made of."""

import os
import subprocess
import sys

import pytest

from tests.support.stack import environment

PROCESSES = 3
RATIO = 1.25

API = """
import fastapi, mangum, boto3, aws_lambda_powertools
from botocore.config import Config
boto3.client("dynamodb", config=Config()); boto3.client("sqs", config=Config())
"""
AUTHORIZER = """
import boto3, aws_lambda_powertools, pydantic_settings
from botocore.config import Config
boto3.client("dynamodb", config=Config())
"""

AWS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "CREWRELAY_TABLE": "jobs",
    "CREWRELAY_BUCKET": "bodies",
    "CREWRELAY_QUEUE_URL": "http://127.0.0.1:1/jobs",
    "CREWRELAY_NOTIFY_QUEUE_URL": "http://127.0.0.1:1/notify",
}


def user_cpu(code: str) -> float:
    """Seconds of user CPU that a fresh interpreter spends on it."""
    before = os.times().children_user
    subprocess.run([sys.executable, "-c", code], env=environment(**AWS), check=True)
    return os.times().children_user - before


@pytest.mark.parametrize(("handler", "parts"), [("api", API), ("authorizer", AUTHORIZER)])
def test_a_handler_imports_nearly_as_fast_as_its_parts(handler: str, parts: str) -> None:
    pairs = [(user_cpu(f"import {handler}.handler"), user_cpu(parts)) for _ in range(PROCESSES)]
    own, bare = (min(column) for column in zip(*pairs, strict=True))  # what else runs adds to the others
    print(f"\n{handler} {own * 1000:.0f} ms, its parts alone {bare * 1000:.0f} ms: {own / bare:.2f}")
    assert own <= RATIO * bare
