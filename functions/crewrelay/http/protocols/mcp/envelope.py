"""A message of MCP, checked: its JSON-RPC envelope, the revision it speaks, the headers that repeat it.

Two kinds of revision share the endpoint. The stateless one says in `_meta` of every request which revision it is and
what the client can do; the older ones begin with a handshake, of which nothing is kept: there are no sessions.
https://modelcontextprotocol.io/specification/2026-07-28
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from fastapi import Request
from pydantic_core import from_json
from starlette.datastructures import Headers

from crewrelay.http.services import Services
from crewrelay.jobs.access import Caller

STATELESS = "2026-07-28"
HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # the newest first
TASKS = "io.modelcontextprotocol/tasks"  # the extension
VERSION_HEADER = "MCP-Protocol-Version"

PARSE_ERROR, INVALID_REQUEST, NO_SUCH_METHOD, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION = -32020, -32021, -32022

_VERSION, _CAPABILITIES = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"
# The parameter that the header Mcp-Name repeats.
_NAMED = {"tools/call": "name", "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}
_BASE64, _BASE64_END = "=?base64?", "?="


class RpcError(Exception):
    """`http` is the status, if it is not that of the code."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any] | None = None, http: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data
        self.http = http


class Message(NamedTuple):
    """A request. `capabilities` are the client's; those of a handshake are unknown, as nothing is kept of it."""

    method: str
    params: Mapping[str, Any]
    meta: Mapping[str, Any] = {}
    capabilities: Mapping[str, Any] = {}

    @property
    def knows_tasks(self) -> bool:
        return isinstance(extensions := self.capabilities.get("extensions"), dict) and TASKS in extensions

    @property
    def asks_humans(self) -> bool:
        """Whether the client can show a human a form. Without details `elicitation` means one."""
        offered = self.capabilities.get("elicitation")
        return isinstance(offered, dict) and (not offered or "form" in offered)

    def text(self, name: str) -> str:
        """A parameter. Raises RpcError."""
        value = self.params.get(name)
        if not isinstance(value, str):
            raise RpcError(INVALID_PARAMS, f"{name}: must be a string.")
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A parameter that may be left out. Raises RpcError."""
        value = self.params.get(name)
        if not isinstance(value, dict | None):
            raise RpcError(INVALID_PARAMS, f"{name}: must be an object.")
        return value or {}


class Asked(NamedTuple):
    """A request, who sent it, and when the answer must be sent."""

    services: Services
    caller: Caller
    message: Message
    request: Request
    end: datetime


def read(body: bytes) -> dict[str, Any]:
    """The JSON object. Raises RpcError."""
    try:
        sent = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise RpcError(PARSE_ERROR, "The body is not valid JSON, or is nested too deeply.") from None
    if not isinstance(sent, dict) or sent.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, "The body must be one JSON-RPC 2.0 message; batches are not supported.")
    return sent


def is_answerable(sent: Mapping[str, Any], headers: Headers) -> bool:
    """Whether it is a request; notifications, and the responses that older clients may send, are not. Raises RpcError
    if it is none of them.
    """
    if "method" in sent and "id" not in sent:
        return False
    if "method" not in sent and ("result" in sent or "error" in sent) and not _is_stateless(sent, headers):
        return False
    if not isinstance(sent.get("method"), str) or id_of(sent) is None:
        raise RpcError(INVALID_REQUEST, "The message has no method, or its id is neither a string nor an integer.")
    return True


def id_of(sent: Mapping[str, Any]) -> str | int | None:
    value = sent.get("id")
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _is_stateless(sent: Mapping[str, Any], headers: Headers) -> bool:
    params = sent.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return headers.get(VERSION_HEADER) == STATELESS or (isinstance(meta, dict) and _VERSION in meta)


def is_stateless(sent: Mapping[str, Any], headers: Headers) -> bool:
    return sent.get("method") == "server/discover" or _is_stateless(sent, headers)


def message_of(sent: Mapping[str, Any], headers: Headers) -> Message:
    """Raises RpcError."""
    method, params = str(sent["method"]), sent.get("params")
    if not isinstance(params, dict | None):
        raise RpcError(INVALID_PARAMS, "params: must be an object.")
    params = params or {}
    meta = params.get("_meta")
    if not is_stateless(sent, headers):
        version = headers.get(VERSION_HEADER, HANDSHAKE[0])
        if version not in HANDSHAKE and method != "initialize":
            raise _unsupported(version)
        return Message(method, params, meta if isinstance(meta, dict) else {})
    if not isinstance(meta, dict) or _VERSION not in meta or not isinstance(meta.get(_CAPABILITIES), dict):
        raise RpcError(INVALID_PARAMS, f"params._meta: must have {_VERSION} and {_CAPABILITIES}.")
    _compare_headers(method, params, meta[_VERSION], headers)
    if meta[_VERSION] != STATELESS:
        raise _unsupported(meta[_VERSION])
    return Message(method, params, meta, meta[_CAPABILITIES])


def _compare_headers(method: str, params: Mapping[str, Any], version: Any, headers: Headers) -> None:
    """What a gateway in between may have gone by must be what the body says."""
    expected = {VERSION_HEADER: version, "Mcp-Method": method}
    if method in _NAMED:
        expected["Mcp-Name"] = params.get(_NAMED[method])
    for name, value in expected.items():
        given = headers.getlist(name)
        if value is not None and [_decoded(one) for one in given] != [value]:
            what = "is missing" if not given else "says something else than the body, or is there twice"
            raise RpcError(HEADER_MISMATCH, f"The header {name} {what}.")


def _decoded(value: str) -> str | None:
    if not (value.startswith(_BASE64) and value.endswith(_BASE64_END)):
        return value
    try:
        return base64.b64decode(value[len(_BASE64) : -len(_BASE64_END)], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _unsupported(version: Any) -> RpcError:
    data = {"supported": [STATELESS], "requested": version}
    return RpcError(UNSUPPORTED_VERSION, "The revision is not supported.", data)
