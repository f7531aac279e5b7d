"""What the stack makes of its environment: an AWS that is there or isn't, a proxy, settings that are wrong."""

import subprocess
import sys

import httpx
import pytest

from tests.support.aws import TESTS, aws_client, emulator_of_tests
from tests.support.stack import free_port, running_stack, serve_and_fail
from tests.support.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}


def test_an_aws_endpoint_that_is_not_there_is_one_clear_line() -> None:
    variables = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_DEFAULT_REGION": "us-east-1"}
    failed = serve_and_fail("--port", "0", **variables, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert "can't make the table, the queues and the bucket" in failed.stderr


def test_a_stack_runs_on_an_aws_that_is_already_there(emulator: str) -> None:
    credentials = TESTS.variables | {"AWS_DEFAULT_REGION": "us-east-1"}
    for _ in range(2):  # the second finds the resources of the first
        with running_stack(AWS_ENDPOINT_URL=emulator, **credentials) as stack:
            assert stack.aws_url == emulator
            assert stack.client.post("/crewai/run", json=EXAMPLE).status_code == 200


def test_services_with_endpoints_of_their_own_have_their_storage_there(emulator: str) -> None:
    """Tables on one emulator, queues on another: a job needs both."""
    aws = TESTS.variables | {"AWS_DEFAULT_REGION": "us-east-1"}
    with (
        emulator_of_tests() as other,
        running_stack(AWS_ENDPOINT_URL=emulator, AWS_ENDPOINT_URL_SQS=other, **aws) as stack,
    ):
        sqs = aws_client("sqs", other)
        assert len(sqs.list_queues()["QueueUrls"]) == 6
        assert stack.aws("dynamodb").list_tables()["TableNames"]
        job = stack.client.post("/crewai/run/async", json=EXAMPLE).raise_for_status().json()
        done = lambda: stack.client.get(job["status_url"]).json()["status"] == "completed"  # noqa: E731
        assert wait_until(done, within=20)
        sqs.close()


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


def test_a_proxy_of_the_environment_is_not_asked_for_loopback() -> None:
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    with running_stack(**proxy) as stack:
        assert httpx.post(f"{stack.url}/crewai/run", json=EXAMPLE, timeout=30, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CREWRELAY_MODEL": "nobody/knows"}, "CREWRELAY_MODEL='nobody/knows' has an unknown provider"),
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
