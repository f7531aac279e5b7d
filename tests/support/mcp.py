"""A client of MCP for tests: sends what is asked, and checks what every answer must be."""

from collections.abc import Mapping
from typing import Any

from starlette.testclient import TestClient

REVISION = "2026-07-28"
TASKS: Mapping[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
FORMS: Mapping[str, Any] = {"elicitation": {}}
_PREFIX = "io.modelcontextprotocol/"
_NAMED = {"tools/call": "name", "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}


def request(method: str, params: Mapping[str, Any] = {}, capabilities: Mapping[str, Any] = {}, /, **meta: Any) -> Any:
    """A request of the stateless revision."""
    own = {f"{_PREFIX}protocolVersion": REVISION, f"{_PREFIX}clientCapabilities": capabilities}
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": own | meta}}


def headers(sent: Mapping[str, Any]) -> dict[str, str]:
    method = sent["method"]
    named = {"Mcp-Name": str(sent["params"][_NAMED[method]])} if method in _NAMED else {}
    return {"MCP-Protocol-Version": REVISION, "Mcp-Method": method, **named}


class Mcp:
    def __init__(self, client: TestClient, **own: str) -> None:
        self.client = client
        self._own = own

    def answer(self, sent: Any, given: Mapping[str, str] | None = None) -> Any:
        """The HTTP response to this message, with these headers."""
        return self.client.post("/mcp", json=sent, headers=self._own | dict(headers(sent) if given is None else given))

    def result(self, method: str, params: Mapping[str, Any] = {}, *capabilities: Mapping[str, Any], **meta: Any) -> Any:
        able = {name: value for each in capabilities for name, value in each.items()}
        response = self.answer(request(method, params, able, **meta))
        assert response.status_code == 200, response.text
        body = response.json()
        assert {name: body[name] for name in ("jsonrpc", "id")} == {"jsonrpc": "2.0", "id": 7}
        assert body["result"]["resultType"]
        return body["result"]

    def error(self, method: str, params: Mapping[str, Any] = {}, *capabilities: Mapping[str, Any]) -> tuple[int, int]:
        """HTTP status and code."""
        able = {name: value for each in capabilities for name, value in each.items()}
        response = self.answer(request(method, params, able))
        assert response.json()["id"] == 7
        return response.status_code, response.json()["error"]["code"]

    def call(self, name: str, arguments: Mapping[str, Any], *capabilities: Mapping[str, Any], **meta: Any) -> Any:
        return self.result("tools/call", {"name": name, "arguments": arguments}, *capabilities, **meta)
