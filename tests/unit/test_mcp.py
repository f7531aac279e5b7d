"""MCP's messages: two kinds of revision on one endpoint, headers, pages of other sites, what is refused."""

import json
from datetime import timedelta
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from crewrelay.http.api import create_api
from crewrelay.http.long_poll import LongPoll
from crewrelay.http.services import Services
from crewrelay.system import utcnow
from tests.support.crews import OwnCrews
from tests.support.http_apps import LOCAL, REQUEST
from tests.support.mcp import REVISION, Mcp, headers, request

PARSE_ERROR, INVALID_REQUEST, NO_SUCH_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION = -32020, -32021, -32022
JSON = {"content-type": "application/json"}
RESEARCH = {"name": "research", "arguments": REQUEST}


NOTHING = cast(Any, None)  # where a request that got through would fail


@pytest.fixture(scope="module")
def mcp() -> Mcp:
    long_poll = LongPoll(NOTHING, utcnow, timedelta(seconds=27))
    api = create_api(Services(NOTHING, NOTHING, NOTHING, NOTHING, long_poll, NOTHING, NOTHING), LOCAL, ["mcp"])
    return Mcp(TestClient(api, raise_server_exceptions=False))


def test_a_server_is_discovered_without_a_handshake(mcp: Mcp) -> None:
    found = mcp.result("server/discover")
    assert found["supportedVersions"] == [REVISION]
    assert found["capabilities"] == {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "crewrelay"
    assert found["ttlMs"] > 0
    assert found["cacheScope"] == "private"


@pytest.mark.parametrize(
    ("wanted", "spoken"),
    [("2025-11-25", "2025-11-25"), ("2024-11-05", "2024-11-05"), ("2019-01-01", "2025-11-25"), (7, "2025-11-25")],
)
def test_older_clients_shake_hands_and_keep_no_session(mcp: Mcp, wanted: Any, spoken: str) -> None:
    hello = {"jsonrpc": "2.0", "id": "a", "method": "initialize", "params": {"protocolVersion": wanted}}
    answer = mcp.answer(hello, {})
    assert answer.json()["result"]["protocolVersion"] == spoken
    assert answer.json()["result"]["capabilities"] == {"tools": {}}
    assert "mcp-session-id" not in answer.headers
    noted = mcp.answer({"jsonrpc": "2.0", "method": "notifications/initialized"}, {"MCP-Protocol-Version": spoken})
    assert (noted.status_code, noted.content) == (202, b"")
    ping = mcp.answer({"jsonrpc": "2.0", "id": 2, "method": "ping"}, {"MCP-Protocol-Version": spoken})
    assert ping.json() == {"jsonrpc": "2.0", "id": 2, "result": {}}
    tools = mcp.answer({"jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": None}, {})
    assert "research" in [tool["name"] for tool in tools.json()["result"]["tools"]]


@pytest.mark.parametrize("method", ["initialize", "ping", "tasks/list", "tasks/result", "prompts/list", "no/such"])
def test_a_method_that_the_revision_has_not_answers_404(mcp: Mcp, method: str) -> None:
    response = mcp.answer(request(method), {"MCP-Protocol-Version": REVISION})  # before its headers are compared
    assert (response.status_code, response.json()["error"]["code"]) == (404, NO_SUCH_METHOD)


def test_an_older_client_that_asks_for_an_unknown_method_stays_connected(mcp: Mcp) -> None:
    response = mcp.answer({"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": "x"}}, {})
    assert (response.status_code, response.json()["error"]["code"]) == (200, NO_SUCH_METHOD)


@pytest.mark.parametrize(
    "changed",
    [
        {"Mcp-Method": "tools/list"},
        {"Mcp-Name": "other"},
        {"Mcp-Name": ""},
        {"MCP-Protocol-Version": "2025-11-25"},
        {"Mcp-Name": "=?base64?!!?="},
    ],
)
def test_headers_must_say_what_the_body_says(mcp: Mcp, changed: dict[str, str]) -> None:
    sent = request("tools/call", RESEARCH)
    response = mcp.answer(sent, headers(sent) | changed)
    assert (response.status_code, response.json()["error"]["code"]) == (400, HEADER_MISMATCH)


def test_a_header_may_be_in_base64(mcp: Mcp) -> None:
    sent = request("tools/call", {"name": "größe"})
    response = mcp.answer(sent, headers(sent) | {"Mcp-Name": "=?base64?Z3LDtsOfZQ==?="})
    assert response.json()["error"]["code"] == INVALID_PARAMS  # there is no such tool


@pytest.mark.parametrize("left_out", ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"])
def test_headers_must_be_there(mcp: Mcp, left_out: str) -> None:
    sent = request("tools/call", RESEARCH)
    response = mcp.answer(sent, {name: value for name, value in headers(sent).items() if name != left_out})
    assert (response.status_code, response.json()["error"]["code"]) == (400, HEADER_MISMATCH)


def test_a_revision_that_is_not_spoken_is_refused_with_those_that_are(mcp: Mcp) -> None:
    sent = request("server/discover", **{"io.modelcontextprotocol/protocolVersion": "2031-01-01"})
    response = mcp.answer(sent, headers(sent) | {"MCP-Protocol-Version": "2031-01-01"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, UNSUPPORTED_VERSION)
    assert response.json()["error"]["data"] == {"supported": [REVISION], "requested": "2031-01-01"}
    older = mcp.answer({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, {"MCP-Protocol-Version": "2019-01-01"})
    assert older.json()["error"]["code"] == UNSUPPORTED_VERSION


@pytest.mark.parametrize("meta", [None, {}, 5, {"io.modelcontextprotocol/protocolVersion": REVISION}])
def test_a_request_must_say_what_the_client_can(mcp: Mcp, meta: Any) -> None:
    sent = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}}
    response = mcp.answer(sent, {"MCP-Protocol-Version": REVISION, "Mcp-Method": "server/discover"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, INVALID_PARAMS)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", PARSE_ERROR),
        (b"{", PARSE_ERROR),
        (b"\xff", PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": NaN, "method": "ping"}', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}', PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 100_000, PARSE_ERROR),
        (b"[" * 100 + b"]" * 100, INVALID_REQUEST),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', INVALID_REQUEST),
        (b"null", INVALID_REQUEST),
        (b'{"id": 1, "method": "ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 5}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1}', INVALID_REQUEST),
    ],
)
def test_what_is_no_request_is_refused(mcp: Mcp, body: bytes, code: int) -> None:
    response = mcp.client.post("/mcp", content=body, headers=JSON)
    assert response.json()["error"]["code"] == code
    assert response.status_code == (400 if response.json()["id"] is None else 200)  # of an older client


@pytest.mark.parametrize(
    "body",
    [b'{"jsonrpc":"2.0","id":%s,"method":"ping"}' % (b"9" * 300), b'{"jsonrpc":"2.0","id":"\\u0000","method":"ping"}'],
)
def test_an_odd_id_comes_back_as_it_is(mcp: Mcp, body: bytes) -> None:
    assert mcp.client.post("/mcp", content=body, headers=JSON).json()["id"] == json.loads(body)["id"]


@pytest.mark.parametrize(
    "params",
    [
        [],
        {"name": 5},
        {"name": None, "arguments": {}},
        {"name": "research", "arguments": []},
        {"name": "no_such_tool"},
        {"name": "\x00" * 9},
        {"name": "research", "requestState": 5},
    ],
)
def test_parameters_of_a_wrong_type_are_refused(mcp: Mcp, params: Any) -> None:
    sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    response = mcp.answer(sent, {})
    assert (response.status_code, response.json()["error"]["code"]) == (200, INVALID_PARAMS)


def test_notifications_and_an_older_clients_responses_are_taken_without_an_answer(mcp: Mcp) -> None:
    for body in (
        {"method": "notifications/cancelled", "params": {"requestId": 1}},
        {"method": "x"},
        {"id": 1, "result": {}},
    ):
        answer = mcp.client.post("/mcp", json={"jsonrpc": "2.0", **body})
        assert (answer.status_code, answer.content) == (202, b"")
    newer = mcp.answer({"jsonrpc": "2.0", "id": 1, "result": {}}, {"MCP-Protocol-Version": REVISION})
    assert (newer.status_code, newer.json()["error"]["code"]) == (400, INVALID_REQUEST)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_are_no_streams_and_no_sessions(mcp: Mcp, method: str) -> None:
    response = mcp.client.request(method, "/mcp")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"]["code"] == INVALID_REQUEST


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "http://localhost.evil.example"])
def test_a_page_of_another_site_is_refused_where_no_token_is_asked_for(mcp: Mcp, origin: str) -> None:
    sent = request("tools/call", RESEARCH)
    response = mcp.answer(sent, headers(sent) | {"Origin": origin})
    assert (response.status_code, response.json()["error"]["code"]) == (403, INVALID_REQUEST)
    plain = mcp.client.post("/mcp", content=json.dumps(sent), headers=headers(sent) | {"content-type": "text/plain"})
    assert plain.status_code == 415


@pytest.mark.parametrize("origin", ["http://testserver", "http://localhost:6274", "http://127.0.0.1:8000"])
def test_pages_of_this_machine_may_call(mcp: Mcp, origin: str) -> None:
    sent = request("tools/list")
    assert mcp.answer(sent, headers(sent) | {"Origin": origin}).status_code == 200


def test_a_crew_with_a_fault_has_no_tool(mcp: Mcp, own_crews: OwnCrews) -> None:
    own_crews.put("tales")
    own_crews.put("crew_result")  # as one of our own
    own_crews.put("broken", crew="description: [")
    tools = mcp.result("tools/list")["tools"]
    assert [tool["name"] for tool in tools] == [
        *("research", "tales"),
        *("crew_submit", "crew_result", "crew_answer", "crew_cancel"),
    ]
    tale = tools[1]
    assert tale["description"] == "Tells of a topic."
    assert tale["inputSchema"]["properties"]["topic"]["maxLength"] == 20
    assert mcp.error("tools/call", {"name": "broken", "arguments": {"topic": "x"}}) == (400, INVALID_PARAMS)
