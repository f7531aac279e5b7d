"""A2A: what is refused and how, whose tasks are whose, and what comes through Lambda."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.catalogue.catalogue import Catalogue
from crewrelay.http.edge import lambda_handler
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.errors import InvalidCrew
from tests.support.a2a import AT_ONCE, BASE, call, message, sent, streamed
from tests.support.aws_events import rest_event
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import anybody, api_app, assert_untouched, job_that_is

JSON = {"Content-Type": "application/json"}
NOBODYS = "00000000-0000-0000-0000-000000000000"
INVALID, UNSUPPORTED = -32602, -32004


def client_of(storage: Storage, caller: Caller | None = None) -> TestClient:
    return TestClient(api_app(storage, anonymous=caller or anybody("local")), raise_server_exceptions=False)


@pytest.fixture
def client(storage: Storage) -> TestClient:
    return client_of(storage)


NO_CALLS = [
    (b"{", -32700),
    (b"\xff", -32700),
    (b"[" * 100_000, -32700),
    (b"9" * 5000, -32700),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": NaN}}', -32700),
    (b"[]", -32600),
    (b"null", -32600),
    (b'{"id": 1, "method": "GetTask"}', -32600),
    (b'{"jsonrpc": "2.0", "id": {}, "method": "GetTask"}', -32600),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": []}', -32600),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "Nothing"}', -32601),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask"}', INVALID),
]


def test_what_is_not_a_call(client: TestClient, storage: Storage) -> None:
    for body, code in NO_CALLS:
        response = client.post(BASE, content=body, headers=JSON)
        assert (response.status_code, response.json()["error"]["code"]) == (200, code), body[:100]
    assert_untouched(storage)


HOSTILE: list[tuple[dict[str, Any], int]] = [
    ({"messageId": ""}, INVALID),
    ({"messageId": "m" * 256}, INVALID),
    ({"messageId": 7}, INVALID),
    ({"role": "ROLE_AGENT"}, INVALID),
    ({"parts": []}, INVALID),
    ({"parts": "text"}, INVALID),
    ({"parts": [{"text": "x"}] * 101}, INVALID),
    ({"parts": [{"text": "only text"}]}, INVALID),  # no language
    ({"parts": [{"data": ["a"]}]}, INVALID),
    ({"parts": [{"text": "a"}, {"data": {"topic": "b", "language": "en"}}]}, INVALID),
    ({"parts": [{"text": "a\x00"}, {"data": {"language": "en"}}]}, INVALID),
    ({"parts": [{"text": "a"}, {"data": {"language": 10**400}}]}, INVALID),
    ({"parts": [{"text": "a"}, {"data": {"language": "en", "more": 1}}]}, INVALID),
    ({"parts": [{"raw": "AA==", "mediaType": "image/png"}]}, -32005),
    ({"parts": [{"url": "https://example.org"}]}, -32005),
    ({"parts": [{"kind": "file", "file": {"uri": "https://example.org"}}]}, -32005),
    ({"parts": [{"text": "<p>", "mediaType": "image/svg+xml"}]}, -32005),
    ({"parts": [{}]}, -32005),
    ({"contextId": "no spaces"}, INVALID),
    ({"contextId": "c" * 65}, INVALID),
    ({"metadata": []}, INVALID),
    ({"taskId": "nobody's"}, -32001),
    ({"taskId": "\x00"}, -32001),
]


def test_a_message_that_no_crew_can_work_with(client: TestClient, storage: Storage) -> None:
    for change, code in HOSTILE:
        params = {"message": message() | change}
        error = call(client, "SendMessage", params)
        assert error["code"] == code, (change, error)
        assert error["data"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
        rest = client.post(f"{BASE}/message:send", json=params)
        assert 400 <= rest.status_code < 500
        assert rest.json()["error"]["message"] == error["message"]
    assert_untouched(storage)


def test_nulls_and_unknown_fields_are_tolerated(client: TestClient) -> None:
    nulls: dict[str, Any] = {
        "taskId": None,
        "contextId": None,
        "metadata": None,
        "extensions": None,
        "novelty": {"a": 1},
    }
    params = {"message": message(**nulls), "configuration": {**AT_ONCE, "historyLength": None}, "tenant": None}
    task = call(client, "SendMessage", params)["task"]
    assert task["status"]["state"] == "TASK_STATE_SUBMITTED"
    assert sent(client, taskId="", contextId="")["id"] == task["id"]


def test_an_id_counts_with_its_content_and_context(client: TestClient) -> None:
    other = [{"text": "rain"}, {"data": {"language": "en"}}]
    tasks = [sent(client), sent(client), sent(client, contextId="c-1"), sent(client, parts=other)]
    assert len({task["id"] for task in tasks}) == 3


def test_errors_of_the_http_binding(client: TestClient) -> None:
    for method, path, body, status, reason in [
        ("GET", "/tasks/none", "", 404, "TASK_NOT_FOUND"),
        ("POST", "/tasks/none:cancel", "", 404, "TASK_NOT_FOUND"),
        ("GET", "/tasks/none:subscribe", "", 404, "TASK_NOT_FOUND"),
        ("GET", "/tasks?pageSize=0", "", 422, "INVALID_REQUEST"),
        ("GET", "/tasks?pageToken=forged", "", 422, "INVALID_REQUEST"),
        ("GET", "/tasks?statusTimestampAfter=yesterday", "", 422, "INVALID_REQUEST"),
        ("GET", f"/tasks?historyLength={'9' * 5000}", "", 422, "INVALID_REQUEST"),
        ("POST", "/message:send", "text", 415, "CONTENT_TYPE_NOT_SUPPORTED"),
        ("POST", "/tasks/t/pushNotificationConfigs", "{}", 422, "INVALID_REQUEST"),
        ("GET", "/tasks/none/pushNotificationConfigs/c", "", 404, "TASK_NOT_FOUND"),
        ("GET", "/extendedAgentCard", "", 400, "EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
        ("GET", "/nothing", "", 404, "NO_SUCH_PATH"),
    ]:
        kind = "text/plain" if body == "text" else "application/json"
        response = client.request(method, BASE + path, content=body, headers={"Content-Type": kind})
        error = response.json()["error"]
        found = response.status_code, error["code"], error["details"][0]["reason"]
        assert found == (status, status, reason), path


def test_another_version_is_refused(client: TestClient) -> None:
    for version in ("2.0", "1.0.1", "x" * 5000):
        assert call(client, "GetTask", {"id": "t"}, **{"A2A-Version": version})["code"] == -32009
        answer = client.get(f"{BASE}/tasks/t", headers={"A2A-Version": version})
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "UNIMPLEMENTED")


def test_each_method_needs_its_scope(storage: Storage) -> None:
    task = sent(client_of(storage))
    needs = {
        "SendMessage": (Scope.RUN, {"message": message(), "configuration": AT_ONCE}),
        "GetTask": (Scope.READ, {"id": task["id"]}),
        "ListTasks": (Scope.READ, {}),
        "CancelTask": (Scope.ADMIN, {"id": task["id"]}),
    }
    for method, (scope, params) in needs.items():
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        without = client_of(storage, Caller(tenant="local", scopes=frozenset(Scope) - {scope}))
        refused = without.post(BASE, json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, -32000)
        assert f'scope="{scope}"' in refused.headers["www-authenticate"]
        allowed = client_of(storage, Caller(tenant="local", scopes=frozenset({scope})))
        assert "result" in allowed.post(BASE, json=body).json()


def test_another_tenants_task_and_another_crews_are_as_good_as_unknown(
    storage: Storage, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, zoo = sent(client_of(storage), contextId="shared"), client_of(storage, anybody("zoo"))
    calls: list[tuple[str, dict[str, Any]]] = [
        ("GetTask", {"id": task["id"]}),
        ("CancelTask", {"id": task["id"]}),
        ("SubscribeToTask", {"id": task["id"]}),
        ("SendMessage", {"message": message("m-2", taskId=task["id"])}),
    ]
    for method, params in calls:
        foreign = json.dumps(call(zoo, method, params)).replace(task["id"], NOBODYS)
        unknown = json.dumps(call(zoo, method, json.loads(json.dumps(params).replace(task["id"], NOBODYS))))
        assert foreign == unknown
        assert json.loads(foreign)["code"] == -32001
    assert call(zoo, "ListTasks", {"contextId": "shared"})["tasks"] == []
    assert sent(zoo, contextId="shared")["id"] != task["id"]
    monkeypatch.setattr("crewrelay.http.protocols.a2a.agent.require_crew", lambda crew: None)
    other = client_of(storage).get(f"/a2a/other/tasks/{task['id']}")
    assert (other.status_code, other.json()["error"]["details"][0]["reason"]) == (404, "TASK_NOT_FOUND")


def test_a_card_tells_nobody_what_is_wrong_with_a_crew(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Catalogue, name: str) -> None:
        raise InvalidCrew(f"/srv/crews/{name}/config/crew.yaml:1: is wrong")

    monkeypatch.setattr(Catalogue, "card", broken)
    answer = client.get(f"{BASE}/.well-known/agent-card.json")
    assert (answer.status_code, "/srv" in answer.text) == (404, False)


def test_a_crew_that_is_not_there(client: TestClient) -> None:
    for method, path in (("GET", "/.well-known/agent-card.json"), ("POST", ""), ("GET", "/tasks")):
        response = client.request(method, f"/a2a/nobody{path}", content="{}", headers=JSON)
        assert (response.status_code, response.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_with_tokens_the_card_is_open_and_says_so_and_the_rest_is_not(storage: Storage, main_loop: None) -> None:
    handler = lambda_handler(api_app(storage, anonymous=None))
    card = json.loads(handler(rest_event("GET", f"{BASE}/.well-known/agent-card.json"), None)["body"])
    assert card["url"].endswith(".amazonaws.com/prod/a2a/research")
    assert card["securityRequirements"] == [{"schemes": {"bearer": {"list": []}}}]
    assert card["security"] == [{"bearer": []}]
    body = json.dumps({"message": message()})
    refused = handler(rest_event("POST", f"{BASE}/message:send", body), None)
    assert (refused["statusCode"], refused["headers"]["www-authenticate"]) == (401, "Bearer")
    assert json.loads(refused["body"])["error"]["status"] == "UNAUTHENTICATED"
    assert_untouched(storage)


def test_at_the_gateways_limit_the_answer_is_the_task_as_it_is(
    storage: Storage, clock: HandSetClock, main_loop: None
) -> None:
    """And a stream is what has happened until then."""
    handler, body = lambda_handler(api_app(storage)), {"message": message()}
    answer = handler(rest_event("POST", f"{BASE}/message:send", json.dumps(body), age=27), None)
    assert (answer["isBase64Encoded"], answer["headers"]["content-type"]) == (False, "application/a2a+json")
    task = json.loads(answer["body"])["task"]
    assert task["status"]["state"] == "TASK_STATE_SUBMITTED"
    window = handler(rest_event("POST", f"{BASE}/message:stream", json.dumps(body), age=27), None)
    assert window["headers"]["content-type"].startswith("text/event-stream")
    assert streamed(window["body"]) == [{"task": task}]


def test_a_full_tenant_is_told_to_wait_and_loses_nothing(storage: Storage, clock: HandSetClock) -> None:
    client = TestClient(api_app(storage, most_unfinished=1), raise_server_exceptions=False)
    first = sent(client)
    refused = client.post(f"{BASE}/message:send", json={"message": message("m-2")})
    assert (refused.status_code, refused.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert refused.headers["retry-after"]
    assert call(client, "SendMessage", {"message": message("m-2")})["code"] == -32000
    assert sent(client)["id"] == first["id"]


def test_a_task_that_does_not_wait_takes_no_message(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    for status in ("pending", "running", "completed", "failed", "cancelled"):
        job_that_is(status, storage, clock)
    for task in client.get(f"{BASE}/tasks").json()["tasks"]:
        error = call(client, "SendMessage", {"message": message("m-9", taskId=task["id"], parts=[{"text": "go on"}])})
        assert error["code"] == UNSUPPORTED
