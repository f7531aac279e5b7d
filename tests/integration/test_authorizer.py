"""The authorizer function, asked as API Gateway asks, and what stands in for API Gateway on one machine."""

import json
from collections.abc import Callable
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from crewrelay.aws.tokens import DynamoTokens
from crewrelay.events.authorizer import Authorizer
from crewrelay.jobs.access import Scope, issue, new_text
from crewrelay.jobs.errors import Unavailable
from crewrelay.local.authorization import Authorization
from crewrelay.local.resources import load_template
from crewrelay.local.stack import TEMPLATE
from crewrelay.testing import MemoryTokens
from tests.support.aws_events import STAGE, request_event
from tests.support.fixtures import HandSetClock
from tests.support.http_apps import assert_problem, unreachable


@pytest.fixture
def tokens(clock: HandSetClock) -> MemoryTokens:
    return MemoryTokens(clock)


@pytest.fixture
def token(tokens: MemoryTokens, clock: HandSetClock) -> str:
    scopes = frozenset({Scope.RUN, Scope.READ})
    return issue(tokens, "acme", scopes, clock(), clock() + timedelta(days=1), lambda n: b"\x01" * n)[0]


# ---- the function


@pytest.mark.parametrize("header", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_valid_token_opens_the_whole_stage_and_says_whose_it_is(
    tokens: MemoryTokens, token: str, clock: HandSetClock, header: str
) -> None:
    answer = Authorizer(tokens, clock).answer(request_event(f"Bearer {token}", header=header))
    (kept,) = tokens.kept.values()
    assert answer["principalId"] == kept.id
    assert answer["context"] == {"tenant": "acme", "scopes": "read run", "token": kept.id}
    assert all(isinstance(value, str | int | bool) for value in answer["context"].values())
    assert answer["policyDocument"]["Version"] == "2012-10-17"
    (statement,) = answer["policyDocument"]["Statement"]
    assert (statement["Action"], statement["Effect"]) == ("execute-api:Invoke", "Allow")
    for path in ("GET/crewai/status/an-id", "POST/crewai/run", "GET/", "DELETE/a/b/c"):
        assert fnmatchcase(f"{STAGE}/{path}", statement["Resource"])
    assert not fnmatchcase(f"{STAGE.replace('/prod', '/test')}/GET/", statement["Resource"])


def test_the_collections_of_a_token_are_passed_on_in_their_order(
    tokens: MemoryTokens, token: str, clock: HandSetClock
) -> None:
    (kept,) = tokens.kept.values()
    tokens.add(kept.model_copy(update={"collections": ("zoo", "acme")}))
    answer = Authorizer(tokens, clock).answer(request_event(f"Bearer {token}"))
    assert answer["context"]["collections"] == "zoo acme"


def test_the_gateways_log_says_who_called(tokens: MemoryTokens, token: str, clock: HandSetClock) -> None:
    answer = Authorizer(tokens, clock).answer(request_event(f"Bearer {token}"))
    known = {"$context.authorizer.principalId": answer["principalId"]}
    known |= {f"$context.authorizer.{name}": value for name, value in answer["context"].items()}
    line = json.loads(load_template(TEMPLATE)["Resources"]["Api"]["Properties"]["AccessLogSetting"]["Format"])
    said = {key: known[value] for key, value in line.items() if value.startswith("$context.authorizer.")}
    (kept,) = tokens.kept.values()
    assert said == {"caller": kept.id, "tenant": "acme"}


def test_an_event_may_have_each_header_once_only(tokens: MemoryTokens, token: str, clock: HandSetClock) -> None:
    event = request_event(f"Bearer {token}")
    del event["multiValueHeaders"]
    assert Authorizer(tokens, clock).answer(event)["context"]["tenant"] == "acme"


def refused(tokens: MemoryTokens, clock: HandSetClock, *authorization: str) -> None:
    """As the developer guide asks of a function that wants API Gateway to answer 401."""
    with pytest.raises(Exception, match=r"\AUnauthorized\Z") as refusal:
        Authorizer(tokens, clock).answer(request_event(*authorization))
    assert type(refusal.value) is Exception


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nonsense", "Basic dXNlcjpwYXNz", f"Bearer {new_text(bytes)}"])
def test_no_token_garbage_and_an_unknown_token_are_unauthorized(
    tokens: MemoryTokens, token: str, clock: HandSetClock, header: str
) -> None:
    refused(tokens, clock, header)
    refused(tokens, clock)


def test_an_expired_and_a_revoked_token_are_unauthorized(tokens: MemoryTokens, token: str, clock: HandSetClock) -> None:
    (kept,) = tokens.kept.values()
    tokens.revoke(kept.id, clock())
    refused(tokens, clock, f"Bearer {token}")
    tokens.kept = {kept.digest: kept}
    clock.now = kept.expires_at
    refused(tokens, clock, f"Bearer {token}")


def test_of_two_authorization_headers_none_is_believed(tokens: MemoryTokens, token: str, clock: HandSetClock) -> None:
    refused(tokens, clock, f"Bearer {token}", f"Bearer {token}")


def test_null_headers_are_no_token(tokens: MemoryTokens, clock: HandSetClock) -> None:
    with pytest.raises(Exception, match="Unauthorized"):
        Authorizer(tokens, clock).answer(request_event() | {"headers": None, "multiValueHeaders": None})


def test_a_silent_table_is_no_refusal(clock: HandSetClock, token: str) -> None:
    with unreachable("dynamodb") as dynamodb, pytest.raises(Unavailable):
        Authorizer(DynamoTokens(dynamodb, "jobs", clock), clock).answer(request_event(f"Bearer {token}"))


# ---- what asks it on one machine


class Door:
    """The local stack's, before an app that tells what it was told; with a count of how often the authorizer ran."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.seconds = 0.0

        def handler(event: dict[str, Any], context: Any) -> Any:
            self.asked.append(event)
            return answer(event)

        async def told(request: Request) -> JSONResponse:
            return JSONResponse(request.scope.get("aws.event"))

        app = Starlette(routes=[Route("/{path:path}", told, methods=["GET", "POST", "OPTIONS"])])
        self.client = TestClient(Authorization(app, handler, load_template(TEMPLATE), lambda: self.seconds))

    def get(self, token: str, path: str = "/crewai/status/x") -> Any:
        return self.client.get(path, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def door(tokens: MemoryTokens, clock: HandSetClock) -> Door:
    return Door(Authorizer(tokens, clock).answer)


def test_the_app_is_told_who_calls(door: Door, token: str) -> None:
    context = door.get(token).json()["requestContext"]["authorizer"]
    assert (context["tenant"], context["scopes"]) == ("acme", "read run")


def test_what_was_allowed_is_not_asked_again_for_a_minute_whatever_the_path(door: Door, token: str) -> None:
    for path in ("/crewai/status/x", "/crewai/run", "/elsewhere"):
        assert door.get(token, path).status_code == 200
        door.seconds += 19.9
    assert len(door.asked) == 1
    door.seconds = 60
    assert door.get(token).status_code == 200
    assert len(door.asked) == 2


def test_a_revoked_token_is_refused_once_the_minute_is_over(
    door: Door, token: str, tokens: MemoryTokens, clock: HandSetClock
) -> None:
    assert door.get(token).status_code == 200
    tokens.revoke(next(iter(tokens.kept.values())).id, clock())
    door.seconds = 59.9
    assert door.get(token).status_code == 200
    door.seconds = 60
    assert_problem(door.get(token), 401, "unauthenticated")


def test_without_a_header_the_authorizer_is_not_even_asked(door: Door) -> None:
    response = door.client.get("/crewai/status/x")
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"
    assert door.asked == []


def test_a_refusal_is_not_remembered(door: Door, tokens: MemoryTokens, token: str) -> None:
    kept, tokens.kept = tokens.kept, {}
    assert_problem(door.get(token), 401, "unauthenticated")
    tokens.kept = kept
    assert door.get(token).status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/docs", "/openapi.json", "/assets/0/page.css"])
def test_what_says_nothing_of_any_job_is_open(door: Door, path: str) -> None:
    assert door.client.get(path).json() is None
    assert door.asked == []


@pytest.mark.parametrize(
    "path", ["/docs/", "//docs", "/health/x", "/crewai/run", "/%68ealthy", "/assets/0", "/assets/0/a/b"]
)
def test_every_other_path_is_not(door: Door, path: str) -> None:
    assert_problem(door.client.get(f"http://testserver{path}"), 401, "unauthenticated")


def test_a_preflight_needs_no_token_and_says_nothing_of_a_caller(door: Door) -> None:
    assert door.client.options("/crewai/run").json() is None
    assert door.asked == []


def test_an_authorizer_that_fails_is_503_and_asked_again(token: str) -> None:
    def fail(event: dict[str, Any]) -> Any:
        raise Unavailable("The table did not answer.")

    door = Door(fail)
    for _ in range(2):
        response = door.get(token)
        assert_problem(response, 503, "unavailable")
        assert int(response.headers["retry-after"]) > 0
    assert len(door.asked) == 2


@pytest.mark.parametrize("effect", ["Deny", "Allow"])
def test_a_policy_that_does_not_allow_the_path_is_403(token: str, effect: str) -> None:
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": "arn:*/prod/GET/other"}
    everything = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "*"}
    statements = [statement, everything] if effect == "Deny" else [statement]
    answer = {"principalId": "x", "policyDocument": {"Statement": statements}, "context": {}}
    door = Door(lambda event: answer)
    path = "/other" if effect == "Deny" else "/crewai/run"
    assert_problem(door.get(token, path), 403, "access_denied")


def test_a_client_can_not_say_who_it_is(door: Door, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "x-crewrelay-caller": '{"tenant": "other", "scopes": "admin"}'}
    told = door.client.get("/crewai/status/x", headers=headers).json()["requestContext"]["authorizer"]
    assert told["tenant"] == "acme"
