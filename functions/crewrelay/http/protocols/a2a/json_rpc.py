"""A2A's JSON-RPC binding: 1.0's methods and those of 0.3, each answered in its version's form."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from crewrelay.http.callers import AnyCaller
from crewrelay.http.problems import problem_of
from crewrelay.http.protocols.a2a import push, version_0_3
from crewrelay.http.protocols.a2a.agent import Agent, Params
from crewrelay.http.protocols.a2a.bodies import json_body, require_version
from crewrelay.http.protocols.a2a.errors import BadEnvelope, MethodNotFound, json_rpc_error
from crewrelay.http.protocols.a2a.sse import STREAM_HEADERS, events
from crewrelay.http.services import Services
from crewrelay.jobs.errors import CrewrelayError, MissingScope

Json = dict[str, Any]


def _same(answer: Json) -> Json:
    return answer


class _Method(NamedTuple):
    """`form` makes of 1.0's answer, or of each update of a stream, that of the method's version."""

    call: Callable[[Agent, Params], Awaitable[Json | AsyncIterator[Json]]]
    form: Callable[[Json], Any] = _same


_METHODS = {
    "SendMessage": _Method(Agent.send),
    "SendStreamingMessage": _Method(Agent.stream),
    "GetTask": _Method(Agent.get),
    "ListTasks": _Method(Agent.find),
    "CancelTask": _Method(Agent.cancel),
    "SubscribeToTask": _Method(Agent.subscribe),
    "CreateTaskPushNotificationConfig": _Method(push.create),
    "GetTaskPushNotificationConfig": _Method(push.get),
    "ListTaskPushNotificationConfigs": _Method(push.listed),
    "DeleteTaskPushNotificationConfig": _Method(push.delete),
    "GetExtendedAgentCard": _Method(Agent.extended_card),
    "message/send": _Method(Agent.send, version_0_3.update),
    "message/stream": _Method(Agent.stream, version_0_3.update),
    "tasks/get": _Method(Agent.get, version_0_3.task),
    "tasks/cancel": _Method(Agent.cancel, version_0_3.task),
    "tasks/resubscribe": _Method(Agent.subscribe, version_0_3.update),
    "tasks/pushNotificationConfig/set": _Method(push.create_0_3, version_0_3.push_config),
    "tasks/pushNotificationConfig/get": _Method(push.get_0_3, version_0_3.push_config),
    "tasks/pushNotificationConfig/list": _Method(push.listed_0_3, version_0_3.push_configs),
    "tasks/pushNotificationConfig/delete": _Method(push.delete_0_3, lambda _: None),
    "agent/getAuthenticatedExtendedCard": _Method(Agent.extended_card),
}


def json_rpc_routes(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/a2a/{crew}")
    @router.post("/a2a/{crew}/")
    async def call(crew: str, caller: AnyCaller, request: Request) -> Response:
        agent = Agent.of(services, crew, caller, request)
        request_id: str | int | float | None = None
        try:
            request_id, name, params = _envelope(await json_body(request))
            require_version(request, "1.0", "0.3")
            if name not in _METHODS:
                raise MethodNotFound(f"There is no method {name[:100]}.")
            method = _METHODS[name]
            answer = await method.call(agent, params)
        except CrewrelayError as error:
            return _refusal(request_id, error)
        if isinstance(answer, dict):
            return _answer({"jsonrpc": "2.0", "id": request_id, "result": method.form(answer)})
        sent = events(
            answer,
            lambda update: {"jsonrpc": "2.0", "id": request_id, "result": method.form(update)},
            lambda error: {"jsonrpc": "2.0", "id": request_id, "error": json_rpc_error(error)},
        )
        return StreamingResponse(sent, media_type="text/event-stream", headers=STREAM_HEADERS)

    return router


def _envelope(body: Any) -> tuple[str | int | float | None, str, Params]:
    """The id, method and parameters. Raises BadEnvelope."""
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0" or not isinstance(body.get("method"), str):
        raise BadEnvelope("The body is not a request of JSON-RPC 2.0.")
    request_id, params = body.get("id"), body.get("params")
    if not isinstance(request_id, str | int | float | None) or isinstance(request_id, bool):
        raise BadEnvelope("id: must be a string or a number.")
    if not isinstance(params, dict | None):
        raise BadEnvelope("params: must be an object.")
    return request_id, body["method"], params or {}


def _answer(content: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), status, headers, "application/json")


def _refusal(request_id: str | int | float | None, error: CrewrelayError) -> Response:
    """HTTP 200, as JSON-RPC has it; but 403 for a missing scope, which A2A leaves to HTTP."""
    problem = problem_of(error)
    headers = {name: value for name, value in problem.headers.items() if not name.startswith("content-")}
    content = {"jsonrpc": "2.0", "id": request_id, "error": json_rpc_error(error)}
    return _answer(content, 403 if isinstance(error, MissingScope) else 200, headers)
