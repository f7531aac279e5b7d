"""The apps as Lambda functions behind a REST API: real proxy events through the handler that is deployed."""

import asyncio
import base64
import copy
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from crewrelay.aws.bodies import LARGEST_ANSWER
from crewrelay.http.edge import Handler, lambda_handler
from crewrelay.jobs.access import Scope
from crewrelay.jobs.answer import Answer
from crewrelay.jobs.job import JobInput
from crewrelay.settings import CallerSettings
from tests.conftest import Storage
from tests.support.http_apps import (
    ANSWER,
    REQUEST,
    ScriptedCrew,
    api_app,
    assert_untouched,
    run_app,
    unreachable,
)
from tests.support.processes import ROOT

Event = dict[str, Any]

HOST = "1234567890.execute-api.us-east-1.amazonaws.com"


def rest_event(
    method: str,
    path: str,
    body: str | None = None,
    *,
    resource: str = "/{proxy+}",
    sent_path: str | None = None,
    received_path: str | None = None,
    age: float = 0,
    base64_body: bool = False,
) -> Event:
    """A REST API's proxy event, as `sam local generate-event apigateway aws-proxy` shapes it.

    `sent_path` is what the client sent (with the stage), `received_path` what API Gateway makes of it for us;
    `age` is how many seconds ago it came.
    """
    headers = {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "Host": HOST,
        "X-Forwarded-For": "127.0.0.1, 127.0.0.2",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    return {
        "resource": resource,
        "path": received_path or path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path.removeprefix("/")} if resource == "/{proxy+}" else None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "1234567890",
            "domainName": HOST,
            "extendedRequestId": "JKJaXmPLvHcESHA=",
            "httpMethod": method,
            "identity": {"sourceIp": "127.0.0.1", "userAgent": "test", "accessKey": None},
            "path": sent_path or f"/prod{path}",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "requestTime": "09/Apr/2015:12:34:56 +0000",
            "requestTimeEpoch": int((time.time() - age) * 1000),
            "resourceId": "123456",
            "resourcePath": resource,
            "stage": "prod",
        },
        "body": base64.b64encode(body.encode()).decode() if body and base64_body else body,
        "isBase64Encoded": base64_body,
    }


def submission(**options: Any) -> Event:
    return rest_event("POST", "/crewai/run/async", json.dumps(REQUEST), **options)


def text_of(answer: dict[str, Any]) -> str:
    assert answer["isBase64Encoded"] is False
    text: str = answer["body"]
    return text


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def main_loop() -> Iterator[None]:
    """An event loop on this thread, closed at the end: Mangum makes one where there is none, and leaves it open."""
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        yield


@pytest.fixture
def handler(storage: Storage, main_loop: None) -> Handler:
    return lambda_handler(api_app(storage))


# ---- the path


def test_behind_a_stage_location_starts_with_the_stage(handler: Handler) -> None:
    answer = handler(submission(), None)
    accepted = json.loads(text_of(answer))
    assert answer["statusCode"] == 202
    path = f"/prod/crewai/status/{accepted['job_id']}"
    assert accepted.keys() == {"job_id", "status", "status_url"}
    assert (answer["headers"]["location"], accepted["status_url"]) == (path, f"https://{HOST}{path}")
    assert answer["headers"]["content-type"] == "application/json"


def test_location_leads_to_the_status(handler: Handler) -> None:
    location = handler(submission(), None)["headers"]["location"]
    answer = handler(rest_event("GET", location.removeprefix("/prod")), None)
    assert answer["statusCode"] == 200
    assert json.loads(text_of(answer))["status"] == "pending"


def test_the_docs_behind_a_stage_find_their_openapi_document(handler: Handler) -> None:
    docs = handler(rest_event("GET", "/docs"), None)
    assert docs["statusCode"] == 200
    assert "'/prod/openapi.json'" in text_of(docs)
    document = handler(rest_event("GET", "/openapi.json"), None)
    assert json.loads(text_of(document))["servers"] == [{"url": f"https://{HOST}/prod"}]


# What API Gateway sends for a custom domain with a base path mapping: `path` keeps the base path.
# https://github.com/localstack/localstack/pull/12296
@pytest.mark.parametrize(
    ("received", "sent", "prefix"),
    [
        pytest.param("{}", "{}", "", id="a domain of its own"),
        pytest.param("/crews{}", "/crews{}", "/crews", id="a base path"),
        pytest.param("/prod{}", "/prod{}", "/prod", id="a domain mapped to every stage"),
        pytest.param("/crews/prod{}", "/crews/prod{}", "/crews/prod", id="a base path mapped to every stage"),
        pytest.param("{}", "/crews{}", "/crews", id="a base path that was taken off"),
    ],
)
@pytest.mark.parametrize("resource", ["/{proxy+}", "/crewai/run/async"])
def test_behind_a_custom_domain_the_links_keep_its_base_path(
    handler: Handler, received: str, sent: str, prefix: str, resource: str
) -> None:
    path = "/crewai/run/async"
    answer = handler(
        submission(resource=resource, received_path=received.format(path), sent_path=sent.format(path)), None
    )
    assert answer["statusCode"] == 202, answer["body"]
    job_id = json.loads(text_of(answer))["job_id"]
    assert answer["headers"]["location"] == f"{prefix}/crewai/status/{job_id}"
    assert json.loads(text_of(answer))["status_url"] == f"https://{HOST}{prefix}/crewai/status/{job_id}"
    path = f"/crewai/status/{job_id}"
    event = rest_event("GET", path, received_path=received.format(path), sent_path=sent.format(path))
    if resource != "/{proxy+}":
        event |= {"resource": "/crewai/status/{job_id}", "pathParameters": {"job_id": job_id}}
    assert handler(event, None)["statusCode"] == 200


def test_one_function_serves_two_prefixes(handler: Handler) -> None:
    for prefix in ("/prod", "/v1", "", "/prod"):
        docs = handler(rest_event("GET", "/docs", sent_path=f"{prefix}/docs"), None)
        assert f"'{prefix}/openapi.json'" in text_of(docs)


@pytest.mark.parametrize(
    ("changes", "base"),
    [
        pytest.param(
            {"requestContext": {"domainName": "crews.example.org"}}, "https://crews.example.org", id="a domain"
        ),
        pytest.param(
            {"headers": {"X-Forwarded-Proto": "http"}, "requestContext": {"domainName": "127.0.0.1:3000"}},
            "http://127.0.0.1:3000",
            id="sam local start-api",
        ),
        pytest.param({"headers": {"X-Forwarded-Proto": "javascript"}}, f"https://{HOST}", id="another scheme"),
        pytest.param({"headers": {"Host": "elsewhere.example.org"}}, f"https://{HOST}", id="another host"),
    ],
)
def test_the_status_url_names_the_host_that_the_gateway_names(
    storage: Storage, main_loop: None, changes: dict[str, Any], base: str
) -> None:
    event = rest_event("POST", "/crewai/run", json.dumps(REQUEST), resource="/crewai/run", age=600)
    for part, values in changes.items():
        event[part].update(values)
        event["multiValueHeaders"].update({name: [value] for name, value in values.items() if part == "headers"})
    answer = json.loads(text_of(lambda_handler(run_app(storage, ScriptedCrew()))(event, None)))
    assert answer["status_url"] == f"{base}/prod/crewai/status/{answer['job_id']}"


@pytest.mark.parametrize("sent", ["/prod", "/prod/"])
def test_the_root_is_found_with_and_without_a_slash_behind_its_stage(handler: Handler, sent: str) -> None:
    answer = json.loads(text_of(handler(rest_event("GET", "/", resource="/", sent_path=sent), None)))
    assert answer["links"]["docs"] == f"https://{HOST}/prod/docs"


def test_head_answers_as_get_without_a_body(handler: Handler) -> None:
    location = handler(submission(), None)["headers"]["location"].removeprefix("/prod")
    answer = handler(rest_event("HEAD", location), None)
    assert (answer["statusCode"], answer["body"]) == (200, "")
    assert answer["headers"]["content-type"] == "application/json"


# ---- events of other shapes


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


# ---- the body


def test_a_base64_body_is_decoded(handler: Handler) -> None:
    assert handler(submission(base64_body=True), None)["statusCode"] == 202


def test_text_goes_out_as_text_whatever_its_language(storage: Storage, main_loop: None) -> None:
    answer = Answer(text="Ein Netz lernt – 网络学习 🧠", usage=ANSWER.usage)
    run = lambda_handler(run_app(storage, ScriptedCrew(lambda _: answer)))
    reply = run(rest_event("POST", "/crewai/run", json.dumps(REQUEST), resource="/crewai/run"), None)
    assert reply["statusCode"] == 200
    assert json.loads(text_of(reply))["answer"] == answer.text


def test_the_largest_answer_fits_what_lambda_passes_on(storage: Storage, main_loop: None) -> None:
    """Its text is there twice, and the runtime writes ASCII: six bytes for two of UTF-8."""
    letter = "я"
    bare = Answer(text="", usage=ANSWER.usage)
    text = letter * ((LARGEST_ANSWER - len(bare.model_dump_json())) // len(letter.encode()))
    run = lambda_handler(run_app(storage, ScriptedCrew(lambda _: bare.model_copy(update={"text": text}))))
    ran = run(rest_event("POST", "/crewai/run", json.dumps(REQUEST), resource="/crewai/run"), None)
    job_id = json.loads(ran["body"])["job_id"]
    status = lambda_handler(api_app(storage))(rest_event("GET", f"/crewai/status/{job_id}"), None)
    for answer in (ran, status):
        body = json.loads(text_of(answer))
        assert body["answer"] == body["result"] == text
        assert len(json.dumps(answer)) < 6 * 1024 * 1024


@pytest.mark.parametrize(
    ("event", "status"),
    [
        pytest.param(rest_event("POST", "/crewai/run/async", "{"), 400, id="no JSON"),
        pytest.param(rest_event("POST", "/crewai/run/async", None), 400, id="no body"),
        pytest.param(rest_event("POST", "/crewai/run/async", "{}"), 422, id="no fields"),
        pytest.param(rest_event("POST", "/crewai/run/async", " " * 300_000), 413, id="too large"),
        pytest.param(rest_event("GET", "/crewai/status/nobody"), 404, id="unknown job"),
        pytest.param(rest_event("GET", "/nowhere"), 404, id="unknown path"),
        pytest.param(rest_event("DELETE", "/crewai/run/async"), 405, id="wrong method"),
    ],
)
def test_a_refusal_goes_out_as_text(handler: Handler, storage: Storage, event: Event, status: int) -> None:
    answer = handler(copy.deepcopy(event), None)
    problem = json.loads(text_of(answer))
    assert answer["statusCode"] == problem["status"] == status
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert problem["type"].startswith("urn:crewrelay:problem:")
    assert_untouched(storage)


def test_a_table_that_does_not_answer_is_503_and_not_a_crash(storage: Storage, main_loop: None) -> None:
    with unreachable("dynamodb") as dynamodb:
        answer = lambda_handler(api_app(storage._replace(dynamodb=dynamodb)))(submission(), None)
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (503, "application/problem+json")
    assert json.loads(text_of(answer))["remedy"]
    assert int(answer["headers"]["retry-after"]) > 0


def test_a_fault_of_the_service_is_a_problem_behind_the_gateway_too(storage: Storage, main_loop: None) -> None:
    broken = storage._replace(dynamodb=None)  # type: ignore[arg-type]
    answer = lambda_handler(api_app(broken))(submission(), None)
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (500, "application/problem+json")
    assert json.loads(text_of(answer))["type"] == "urn:crewrelay:problem:internal_error"


# ---- what API Gateway leaves out


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


def test_an_event_without_a_time_of_receipt_counts_from_now(storage: Storage, main_loop: None) -> None:
    event = rest_event("POST", "/crewai/run", json.dumps(REQUEST))
    del event["requestContext"]["requestTimeEpoch"]
    assert lambda_handler(run_app(storage, ScriptedCrew()))(event, None)["statusCode"] == 200


# ---- who calls


def called_by(event: Event, **context: Any) -> Event:
    """As API Gateway passes on what the authorizer said: scalars, and its own."""
    event["requestContext"]["authorizer"] = {"principalId": "0123456789ab", "integrationLatency": 23, **context}
    return event


def test_the_tenant_is_who_the_authorizer_says(storage: Storage, main_loop: None) -> None:
    handler = lambda_handler(api_app(storage, anonymous=None))
    answer = handler(called_by(submission(), tenant="acme", scopes="read run"), None)
    assert answer["statusCode"] == 202
    assert {row["tenant"]["S"] for row in storage.rows()} == {"acme"}
    path = answer["headers"]["location"].removeprefix("/prod")
    assert handler(called_by(rest_event("GET", path), tenant="acme", scopes="read"), None)["statusCode"] == 200
    assert handler(called_by(rest_event("GET", path), tenant="zoo", scopes="read"), None)["statusCode"] == 404
    assert handler(called_by(rest_event("GET", path), tenant="acme", scopes="run"), None)["statusCode"] == 403


@pytest.mark.parametrize(
    "context",
    [
        None,
        {},
        {"scopes": "run read admin"},
        {"tenant": "acme"},
        {"tenant": "", "scopes": "run"},
        {"tenant": "A B", "scopes": "run"},
        {"tenant": "acme", "scopes": "everything"},
    ],
)
@pytest.mark.parametrize("path", ["/crewai/run", "/crewai/run/async"])
def test_a_function_that_wants_tokens_refuses_what_no_authorizer_has_seen(
    storage: Storage, main_loop: None, path: str, context: dict[str, Any] | None
) -> None:
    """Somebody may have put it behind another gateway, or taken its authorizer away."""
    app = api_app(storage, anonymous=None) if "async" in path else run_app(storage, ScriptedCrew(), anonymous=None)
    event = rest_event("POST", path, json.dumps(REQUEST))
    event["headers"]["x-crewrelay-caller"] = '{"tenant": "acme", "scopes": "run"}'
    answer = lambda_handler(app)(event if context is None else called_by(event, **context), None)
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (401, "application/problem+json")
    assert answer["headers"]["www-authenticate"] == "Bearer"
    assert json.loads(text_of(answer))["type"] == "urn:crewrelay:problem:unauthenticated"
    assert_untouched(storage)


def test_a_function_wants_tokens_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TABLE", "BUCKET", "QUEUE_URL"):
        monkeypatch.setenv(f"CREWRELAY_{name}", "x")
    monkeypatch.delenv("CREWRELAY_AUTH", raising=False)
    assert CallerSettings.read().anonymous() is None
    monkeypatch.setenv("CREWRELAY_AUTH", "false")
    anonymous = CallerSettings.read().anonymous()
    assert anonymous
    assert (anonymous.tenant, anonymous.scopes) == ("local", frozenset(Scope))


# ---- the clock


@pytest.mark.parametrize("age", [26, 600], ids=["nearly all", "all of it"])
def test_the_deadline_counts_from_when_the_gateway_got_the_request(
    storage: Storage, gate: threading.Event, main_loop: None, age: float
) -> None:
    def script(_: JobInput) -> Answer:
        gate.wait()
        return ANSWER

    run = lambda_handler(run_app(storage, ScriptedCrew(script), timeout=27))
    started = time.monotonic()
    answer = run(rest_event("POST", "/crewai/run", json.dumps(REQUEST), age=age), None)
    assert time.monotonic() - started < 1 + 4
    job_id = json.loads(text_of(answer))["job_id"]
    assert answer["statusCode"] == 202
    assert answer["headers"]["location"] == f"/prod/crewai/status/{job_id}"
    assert int(answer["headers"]["retry-after"]) > 0
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [job_id]


def test_a_gateway_whose_clock_is_ahead_does_not_lengthen_the_wait(
    storage: Storage, gate: threading.Event, main_loop: None
) -> None:
    def script(_: JobInput) -> Answer:
        gate.wait()
        return ANSWER

    run = lambda_handler(run_app(storage, ScriptedCrew(script), timeout=0.3))
    started = time.monotonic()
    answer = run(rest_event("POST", "/crewai/run", json.dumps(REQUEST), age=-3600), None)
    assert time.monotonic() - started < 0.3 + 4
    assert answer["statusCode"] == 202


# ---- threads


def test_several_threads_may_call_one_handler_at_once(handler: Handler) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: handler(submission(), None), range(16)))
    assert [answer["statusCode"] for answer in answers] == [202] * 16
    assert len({json.loads(answer["body"])["job_id"] for answer in answers}) == 16


def test_a_handler_made_on_one_thread_answers_on_another(storage: Storage) -> None:
    with ThreadPoolExecutor(1) as makers, ThreadPoolExecutor(1) as callers:
        handler = makers.submit(lambda_handler, api_app(storage)).result()
        assert callers.submit(handler, rest_event("GET", "/health"), None).result()["statusCode"] == 200
