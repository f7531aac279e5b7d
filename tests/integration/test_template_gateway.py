"""The API of template.yaml: its paths, who may call, and what it answers itself."""

import json
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from crewrelay.aws import rows, tokens
from crewrelay.http.edge import with_cors
from crewrelay.http.problems import MEDIA_TYPE, Problem, problem_of
from crewrelay.jobs.access import Scope, Token
from crewrelay.jobs.errors import Unauthenticated
from crewrelay.local.resources import Template
from crewrelay.system import utcnow
from tests.support.sam import translated
from tests.support.template import functions, resources


def test_what_no_path_of_its_own_has_goes_to_the_api_function(template: Template) -> None:
    events = functions(template)["ApiFunction"]["Events"].values()
    assert {"/", "/{proxy+}"} <= {event["Properties"]["Path"] for event in events}


def test_the_run_function_outlasts_the_longest_gateway(template: Template) -> None:
    assert functions(template)["RunFunction"]["Timeout"] > template["Parameters"]["IntegrationTimeout"]["MaxValue"]


def test_the_gateway_waits_as_long_as_the_run_function_is_told(template: Template) -> None:
    run = functions(template)["RunFunction"]
    assert template["Conditions"]["GatewayLimitIsRaised"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "IntegrationTimeout"}, 29]}]
    }
    assert run["Events"]["Run"]["Properties"]["TimeoutInMillis"] == {
        "Fn::If": ["GatewayLimitIsRaised", {"Fn::Sub": "${IntegrationTimeout}000"}, {"Ref": "AWS::NoValue"}]
    }
    assert run["Environment"]["Variables"]["CREWRELAY_GATEWAY_LIMIT"] == {"Ref": "IntegrationTimeout"}


def test_a_preflight_is_answered_as_the_apps_would(template: Template) -> None:
    cors = template["Resources"]["Api"]["Properties"]["Cors"]
    preflight = {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = TestClient(with_cors("https://example.org", FastAPI())).options("/", headers=preflight)
    for said, header in (("AllowMethods", "methods"), ("AllowHeaders", "headers")):
        ours = cors[said].strip("'").split(",")
        app = answer.headers[f"access-control-allow-{header}"].split(", ")
        assert set(ours) == set(app) - {"Accept", "Accept-Language", "Content-Language"}  # which any page may send


@pytest.fixture
def api(template: Template) -> dict[str, Any]:
    return resources(template, "AWS::Serverless::Api")["Api"]


def test_every_path_but_those_that_say_nothing_of_jobs_asks_the_authorizer(template: Template, tmp_path: Path) -> None:
    body = translated(template, tmp_path)["Api"]["Properties"]["Body"]
    secured = {
        path: [list(need) for need in operation.get("security", [])]
        for path, item in body["paths"].items()
        for operation in item.values()
    }
    assert {path for path, needs in secured.items() if needs != [["Tokens"]]} == {
        "/",
        "/health",
        "/docs",
        "/openapi.json",
        "/assets/{version}/{file}",
        "/a2a/{crew}/.well-known/agent-card.json",
    }
    assert {"/crewai/run", "/crewai/run/async", "/{proxy+}"} <= secured.keys()
    scheme = body["components"]["securitySchemes"]["Tokens"]
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    assert authorizer["type"] == "request"
    assert authorizer["identitySource"] == "method.request.header.Authorization"
    assert 0 < authorizer["authorizerResultTtlInSeconds"] <= 60  # as `crewrelay token revoke` says


def test_the_authorizer_may_read_tokens_and_nothing_else(template: Template) -> None:
    (policy,) = resources(template, "AWS::IAM::Role")["AuthorizerRole"]["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "dynamodb:GetItem"
    assert statement["Resource"] == {"Fn::GetAtt": ["JobsTable", "Arn"]}
    (prefix,) = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    now = utcnow()
    token = Token(digest="d" * 64, tenant="a", scopes=frozenset(Scope), created_at=now, expires_at=now)
    assert fnmatchcase(tokens.key(token.digest)["pk"]["S"], prefix)
    assert not fnmatchcase(rows.key("an-id", "JOB")["pk"]["S"], prefix)


# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
STATUS_OF_KIND = {
    "ACCESS_DENIED": 403,
    "API_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "BAD_REQUEST_PARAMETERS": 400,
    "BAD_REQUEST_BODY": 400,
    "DEFAULT_4XX": 400,
    "DEFAULT_5XX": 500,
    "EXPIRED_TOKEN": 403,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
    "INVALID_API_KEY": 403,
    "INVALID_SIGNATURE": 403,
    "MISSING_AUTHENTICATION_TOKEN": 403,
    "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413,
    "RESOURCE_NOT_FOUND": 404,
    "THROTTLED": 429,
    "UNAUTHORIZED": 401,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "WAF_FILTERED": 403,
}


def test_whatever_the_gateway_refuses_itself_is_a_problem(api: dict[str, Any]) -> None:
    said = api["GatewayResponses"]
    for kind, usual in STATUS_OF_KIND.items():
        response = said.get(kind) or said["DEFAULT_4XX" if usual < 500 else "DEFAULT_5XX"]
        (text,) = response["ResponseTemplates"].values()
        body = Problem.model_validate_json(text)
        headers = response["ResponseParameters"]["Headers"]
        assert headers["Content-Type"] == f"'{MEDIA_TYPE}'"
        assert headers["Access-Control-Allow-Origin"] == api["Cors"]["AllowOrigin"]
        assert ("Retry-After" in headers) == ("'Retry-After'" in headers.get("Access-Control-Expose-Headers", "")), kind
        assert body.status == response["StatusCode"], kind
        assert body.status // 100 == usual // 100, kind
        assert (body.title, body.type.rpartition(":")[0]) == (
            HTTPStatus(body.status).phrase.replace("Request Entity Too Large", "Content Too Large"),
            "urn:crewrelay:problem",
        )
        assert body.detail
        assert body.remedy
        assert ("Retry-After" in headers) is (body.status == 503 or "repeat" in body.remedy or kind == "THROTTLED"), (
            kind
        )
    assert said.keys() <= STATUS_OF_KIND.keys()


def test_a_refused_token_is_refused_by_the_gateway_as_by_a_function(api: dict[str, Any]) -> None:
    response = api["GatewayResponses"]["UNAUTHORIZED"]
    own = problem_of(Unauthenticated("The request came without a valid token."))
    assert json.loads(response["ResponseTemplates"]["application/json"]) == json.loads(bytes(own.body))
    assert response["ResponseParameters"]["Headers"]["WWW-Authenticate"] == f"'{own.headers['www-authenticate']}'"
