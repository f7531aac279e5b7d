"""A2A's errors, and their forms in its two bindings."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from crewrelay.http.problems import content_of
from crewrelay.jobs.errors import CrewrelayError
from crewrelay.jobs.text import ended


class TaskNotCancelable(CrewrelayError):
    """The task has ended."""

    code = "task_not_cancelable"
    http = 400
    remedy = "Read the task: it has ended."


class UnknownPushConfig(CrewrelayError):
    """A2A has no error of its own for this, and names TaskNotFound."""

    code = "unknown_push_config"
    http = 404
    remedy = "List the task's push notification configurations."


class UnsupportedOperation(CrewrelayError):
    """The task's state does not allow this."""

    code = "unsupported_operation"
    http = 400
    remedy = "Read the task's state; send a message without taskId to begin a new task."


class ContentTypeNotSupported(CrewrelayError):
    """A part of the message is of a kind that crews don't take."""

    code = "content_type_not_supported"
    http = 400
    remedy = "Send text as text/plain, and other inputs by name as a JSON object in a data part."


class BodyTypeNotSupported(ContentTypeNotSupported):
    """The body is not said to be JSON."""

    http = 415
    remedy = "Send JSON with Content-Type: application/json, or application/a2a+json."


class ExtendedAgentCardNotConfigured(CrewrelayError):
    """There is one agent card, which is public."""

    code = "extended_agent_card_not_configured"
    http = 400
    remedy = "Use the card at /.well-known/agent-card.json."


class VersionNotSupported(CrewrelayError):
    """A2A-Version names a version that is not served."""

    code = "version_not_supported"
    http = 400
    remedy = "Send A2A-Version: 1.0, or 0.3 with the methods of 0.3."


class MethodNotFound(CrewrelayError):
    """JSON-RPC: there is no such method."""

    code = "method_not_found"
    http = 404
    remedy = "See https://a2a-protocol.org for the methods."


class ParseError(CrewrelayError):
    """The body is not JSON."""

    code = "not_json"
    http = 400
    remedy = "Send JSON in UTF-8."


class BadEnvelope(CrewrelayError):
    """The body is not a request of JSON-RPC."""

    code = "bad_envelope"
    http = 400
    remedy = 'Send {"jsonrpc": "2.0", "id": …, "method": …, "params": {…}}.'


class _Form(NamedTuple):
    json_rpc: int
    reason: str = ""  # of A2A's own errors


_FORMS = {
    "unknown_job": _Form(-32001, "TASK_NOT_FOUND"),
    "unknown_push_config": _Form(-32001, "TASK_NOT_FOUND"),
    "task_not_cancelable": _Form(-32002, "TASK_NOT_CANCELABLE"),
    "unsupported_operation": _Form(-32004, "UNSUPPORTED_OPERATION"),
    "content_type_not_supported": _Form(-32005, "CONTENT_TYPE_NOT_SUPPORTED"),
    "extended_agent_card_not_configured": _Form(-32007, "EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
    "version_not_supported": _Form(-32009, "VERSION_NOT_SUPPORTED"),
    "not_json": _Form(-32700),
    "bad_envelope": _Form(-32600),
    "method_not_found": _Form(-32601),
    "invalid_request": _Form(-32602),
    "idempotency_conflict": _Form(-32602),
    "internal_error": _Form(-32603),
}
_OTHER = _Form(-32000)  # of the range that JSON-RPC leaves to servers

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    415: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_PRECONDITIONS = ("TASK_NOT_CANCELABLE", "EXTENDED_AGENT_CARD_NOT_CONFIGURED")
_UNIMPLEMENTED = ("UNSUPPORTED_OPERATION", "VERSION_NOT_SUPPORTED")


def refusal(problem: Mapping[str, Any]) -> dict[str, Any]:
    """A problem as the HTTP+JSON binding has errors: https://google.aip.dev/193."""
    form = _form(problem)
    status = _STATUSES.get(problem["status"], "INTERNAL")
    if form.reason in _PRECONDITIONS:
        status = "FAILED_PRECONDITION"
    if form.reason in _UNIMPLEMENTED:
        status = "UNIMPLEMENTED"
    error = {"code": problem["status"], "status": status, "message": _said(problem), "details": [_info(problem)]}
    return {"error": error}


def json_rpc_error(error: CrewrelayError) -> dict[str, Any]:
    problem = content_of(error)
    return {"code": _form(problem).json_rpc, "message": _said(problem), "data": [_info(problem)]}


def _code(problem: Mapping[str, Any]) -> str:
    return str(problem["type"]).rpartition(":")[2]


def _form(problem: Mapping[str, Any]) -> _Form:
    return _FORMS.get(_code(problem), _OTHER)


def _said(problem: Mapping[str, Any]) -> str:
    return f"{ended(problem['detail'])} {problem['remedy']}"


def _info(problem: Mapping[str, Any]) -> dict[str, Any]:
    """google.rpc.ErrorInfo."""
    reason = _form(problem).reason
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason or _code(problem).upper(),
        "domain": "a2a-protocol.org" if reason else "crewrelay",
    }
