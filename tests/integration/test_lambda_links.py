"""Behind a REST API, its stages and its domains, a function finds its paths, and clients find its links."""

import json
from typing import Any

import pytest

from crewrelay.http.edge import Handler, lambda_handler
from tests.support.aws_events import HOST, rest_event, submission, text_of
from tests.support.fixtures import Storage
from tests.support.http_apps import REQUEST, ScriptedCrew, run_app


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
