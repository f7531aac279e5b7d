"""What the stack makes of its environment: an AWS that is there or isn't, a proxy, settings that are wrong."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from crewrelay.local.resources import create_storage
from tests.support.aws import TESTS, aws_client, emulator_of_tests
from tests.support.stack import RunningStack, free_port, running_stack, serve_and_fail
from tests.support.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}


def test_an_aws_endpoint_that_is_not_there_is_one_clear_line() -> None:
    variables = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_DEFAULT_REGION": "us-east-1"}
    failed = serve_and_fail("--port", "0", **variables, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert "can't make the table, the queues and the bucket" in failed.stderr


def test_a_stack_runs_on_an_aws_that_is_already_there_and_finds_what_an_earlier_one_has_made(
    emulator: str, deployed: dict[str, Any]
) -> None:
    """Its queues are on another emulator, which is empty: a job needs both."""
    with closing(aws_client("cloudformation", emulator)) as cloudformation:
        made = create_storage(cloudformation, deployed)
    aws = TESTS.variables | {"AWS_DEFAULT_REGION": "us-east-1"}
    with (
        emulator_of_tests() as other,
        running_stack(AWS_ENDPOINT_URL=emulator, AWS_ENDPOINT_URL_SQS=other, **aws) as stack,
    ):
        assert stack.aws_url == emulator
        with closing(aws_client("sqs", other)) as sqs:
            assert len(sqs.list_queues()["QueueUrls"]) == 6
        assert stack.resource("JobsTable") == made["JobsTable"]
        job = stack.client.post("/crewai/run/async", json=EXAMPLE).raise_for_status().json()
        done = lambda: stack.client.get(job["status_url"]).json()["status"] == "completed"  # noqa: E731
        assert wait_until(done, within=20)


def test_an_endpoint_of_one_service_alone_is_refused_and_the_others_named() -> None:
    failed = serve_and_fail("--port", "0", AWS_ENDPOINT_URL_SQS="http://127.0.0.1:9")
    assert failed.returncode == 1
    assert failed.stderr == (
        "crewrelay: AWS_ENDPOINT_URL_SQS alone is not enough: set AWS_ENDPOINT_URL as well, "
        "or AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL_S3\n"
    )


def test_an_endpoint_of_a_service_that_can_not_make_its_queues_is_one_clear_line(emulator: str) -> None:
    aws = TESTS.variables | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": emulator}
    failed = serve_and_fail("--port", "0", AWS_ENDPOINT_URL_SQS=f"http://127.0.0.1:{free_port()}", **aws)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert "must lead to an emulator with CloudFormation" in failed.stderr


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(guarded: RunningStack) -> None:
    assert "HTTP_PROXY=" in Path(f"/proc/{guarded.process.pid}/environ").read_text()
    assert guarded.client.post("/crewai/run", json=EXAMPLE).status_code == 200


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CREWRELAY_MODEL_BASE_URL": "nowhere"}, "CREWRELAY_MODEL_BASE_URL"),
        ({"CREWRELAY_LEASE_SECONDS": "soon"}, "CREWRELAY_LEASE_SECONDS"),
        ({"CREWRELAY_GATEWAY_LIMIT": "1"}, "CREWRELAY_GATEWAY_MARGIN must be less"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(variables: dict[str, str], said: str) -> None:
    failed = serve_and_fail("--port", "0", **variables)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_missing_extra_is_one_clear_line() -> None:
    code = "import sys; sys.modules['typer'] = None; from crewrelay.cli.main import main; main()"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr == "crewrelay: the package typer is missing; install crewrelay[local]\n"
