"""Events of other shapes, and of several threads at once."""

import copy
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from crewrelay.http.edge import Handler, lambda_handler
from tests.support.aws_events import Event, rest_event, submission, text_of
from tests.support.fixtures import Storage
from tests.support.http_apps import api_app
from tests.support.processes import ROOT


def generated(kind: str) -> Event:
    """A sample event of SAM's own."""
    command = [str(ROOT / ".venv-sam/bin/sam"), "local", "generate-event", "apigateway", kind]
    environment = os.environ | {"SAM_CLI_TELEMETRY": "0", "AWS_EC2_METADATA_DISABLED": "true"}
    made = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    event: Event = json.loads(made.stdout)
    return event


def test_sams_sample_of_a_rest_event_finds_its_path(handler: Handler) -> None:
    event = generated("aws-proxy")
    assert event["pathParameters"] == {"proxy": "/path/to/resource"}  # API Gateway sends no slash at its beginning
    answer = handler(copy.deepcopy(event), None)
    assert json.loads(text_of(answer))["detail"] == "There is no POST /prod/path/to/resource."
    event |= {"path": "/health", "httpMethod": "GET", "pathParameters": {"proxy": "/health"}}
    event["requestContext"]["path"] = "/prod/health"
    assert handler(event, None)["statusCode"] == 200


def test_an_http_apis_event_is_refused_as_a_problem_that_says_what_to_do(handler: Handler) -> None:
    for event in (generated("http-api-proxy"), {}):
        answer = handler(event, None)
        problem = json.loads(answer["body"])
        assert (answer["statusCode"], answer["headers"]["content-type"]) == (501, "application/problem+json")
        assert problem["type"] == "urn:crewrelay:problem:unsupported_event"
        assert "payload format version 1.0" in problem["remedy"]


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param({"headers": None, "multiValueHeaders": None}, id="no headers"),
        pytest.param({"headers": {}, "multiValueHeaders": {}}, id="empty headers"),
        pytest.param({"queryStringParameters": {}, "multiValueQueryStringParameters": {}}, id="empty query"),
        pytest.param({"pathParameters": None}, id="no path parameters"),
        pytest.param({"body": ""}, id="empty body"),
    ],
)
def test_what_may_be_null_in_an_event_may_be_null(handler: Handler, missing: dict[str, Any]) -> None:
    assert handler(rest_event("GET", "/health") | missing, None)["statusCode"] == 200
    assert handler(rest_event("GET", "/crewai/status/nobody") | missing, None)["statusCode"] == 404


def test_several_threads_may_call_one_handler_at_once(handler: Handler) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: handler(submission(), None), range(16)))
    assert [answer["statusCode"] for answer in answers] == [202] * 16
    assert len({json.loads(answer["body"])["job_id"] for answer in answers}) == 16


def test_a_handler_made_on_one_thread_answers_on_another(storage: Storage) -> None:
    with ThreadPoolExecutor(1) as makers, ThreadPoolExecutor(1) as callers:
        handler = makers.submit(lambda_handler, api_app(storage)).result()
        assert callers.submit(handler, rest_event("GET", "/health"), None).result()["statusCode"] == 200
