"""Behind a REST API the caller is who its authorizer says, and nobody without one."""

import json
from typing import Any

import pytest

from crewrelay.http.edge import lambda_handler
from crewrelay.jobs.access import Scope
from crewrelay.settings import CallerSettings
from tests.support.aws_events import Event, rest_event, submission, text_of
from tests.support.fixtures import Storage
from tests.support.http_apps import REQUEST, ScriptedCrew, api_app, assert_untouched, run_app


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
    for name in ("TABLE", "BUCKET", "QUEUE_URL", "NOTIFY_QUEUE_URL"):
        monkeypatch.setenv(f"CREWRELAY_{name}", "x")
    monkeypatch.delenv("CREWRELAY_AUTH", raising=False)
    assert CallerSettings.read().anonymous() is None
    monkeypatch.setenv("CREWRELAY_AUTH", "false")
    anonymous = CallerSettings.read().anonymous()
    assert anonymous
    assert (anonymous.tenant, anonymous.scopes) == ("local", frozenset(Scope))
