"""MCP at /mcp: a tool for each crew, without sessions, so that any process answers any request.

A request is a POST and its answer plain JSON. https://modelcontextprotocol.io/specification/2026-07-28
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from crewrelay import __version__
from crewrelay.http.callers import AnyCaller
from crewrelay.http.edge import received_at
from crewrelay.http.problems import HANDLERS
from crewrelay.http.protocols.mcp import envelope, tasks, tools
from crewrelay.http.protocols.mcp.envelope import HANDSHAKE, STATELESS, TASKS, Asked, RpcError
from crewrelay.http.services import Services
from crewrelay.jobs.access import Scope
from crewrelay.jobs.errors import CrewrelayError

_SERVER = {"name": "crewrelay", "version": __version__}
_INSTRUCTIONS = (
    "Each crew is a tool that may take minutes. If a result says that its job still runs, call crew_result with the "
    "job_id, as often as needed; do not call the crew again."
)
_FRESH = {"ttlMs": 60_000, "cacheScope": "private"}  # for how long a client may keep an answer
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Method = Callable[[Asked], Awaitable[dict[str, Any]]]


def routes(services: Services) -> APIRouter:
    router = APIRouter()
    stateless: Mapping[str, Method] = {
        "server/discover": _discover,
        "tools/list": _list,
        "tools/call": tools.call,
        "tasks/get": tasks.get,
        "tasks/update": tasks.update,
        "tasks/cancel": tasks.cancel,
    }
    after_handshake: Mapping[str, Method] = {
        "initialize": _initialize,
        "ping": _pong,
        "tools/list": _list,
        "tools/call": tools.call,
    }

    @router.post("/mcp")
    async def post(caller: AnyCaller, request: Request) -> Response:
        sent: dict[str, Any] = {}
        try:
            _require_own_page(request)
            sent = envelope.read(await request.body())
            if not envelope.is_answerable(sent, request.headers):
                return Response(status_code=202)
            is_stateless = envelope.is_stateless(sent, request.headers)
            methods = stateless if is_stateless else after_handshake
            if sent["method"] not in methods:  # before the headers
                raise RpcError(envelope.NO_SUCH_METHOD, "There is no such method.")
            message = envelope.message_of(sent, request.headers)
            end = received_at(request, services.long_poll.clock) + services.long_poll.timeout
            result = await methods[message.method](Asked(services, caller, message, request, end))
            kind = {"resultType": "complete"} if is_stateless else {}
            return JSONResponse({"jsonrpc": "2.0", "id": sent["id"], "result": kind | result})
        except RpcError as error:
            return _refused(error, sent, request)
        except CrewrelayError as error:
            return await _problem(error, sent, request)

    return router


def refusal(problem: Mapping[str, Any]) -> Mapping[str, Any]:
    code = envelope.INTERNAL_ERROR if problem["status"] >= 500 else envelope.INVALID_REQUEST
    message = f"{problem['detail']} {problem['remedy']}"
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message, "data": problem}}


def _refused(error: RpcError, sent: Mapping[str, Any], request: Request) -> Response:
    status = error.http or (404 if error.code == envelope.NO_SUCH_METHOD else 400)
    said = {"code": error.code, "message": str(error)} | ({"data": error.data} if error.data else {})
    return _error({"jsonrpc": "2.0", "id": envelope.id_of(sent), "error": said}, status, {}, sent, request)


async def _problem(error: CrewrelayError, sent: Mapping[str, Any], request: Request) -> Response:
    if error.http in (404, 409, 422):
        return _refused(RpcError(envelope.INVALID_PARAMS, f"{error} {error.remedy}"), sent, request)
    answer = await HANDLERS[CrewrelayError](request, error)
    headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
    content = {**refusal(json.loads(bytes(answer.body))), "id": envelope.id_of(sent)}
    return _error(content, answer.status_code, headers, sent, request)


def _error(
    content: Mapping[str, Any], status: int, headers: Mapping[str, str], sent: Mapping[str, Any], request: Request
) -> Response:
    """Clients of a handshake give up their connection at any other status than 200, with all calls under way."""
    if content["id"] is not None and not envelope.is_stateless(sent, request.headers):
        status = 200
    return JSONResponse(content, status, dict(headers))


def _require_own_page(request: Request) -> None:
    """Without tokens, a page of another site must not start jobs: it can send neither JSON nor another Origin without
    being asked about it first.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RpcError(envelope.INVALID_REQUEST, "The message must be sent as application/json.", http=415)
    origin = request.headers.get("origin")
    if origin is None or request.app.state.anonymous is None:
        return
    try:
        page = urlsplit(origin)
        if page.hostname in _LOOPBACK or page.netloc == request.headers.get("host"):
            return
    except ValueError:
        pass
    raise RpcError(envelope.INVALID_REQUEST, "Pages of other sites may not call this server without a token.", http=403)


async def _discover(_: Asked) -> dict[str, Any]:
    return {
        "supportedVersions": [STATELESS],
        "capabilities": {"tools": {}, "extensions": {TASKS: {}}},
        "instructions": _INSTRUCTIONS,
        "_meta": {"io.modelcontextprotocol/serverInfo": _SERVER},
        **_FRESH,
    }


async def _initialize(asked: Asked) -> dict[str, Any]:
    wanted = asked.message.params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in HANDSHAKE else HANDSHAKE[0],
        "capabilities": {"tools": {}},
        "serverInfo": _SERVER,
        "instructions": _INSTRUCTIONS,
    }


async def _pong(_: Asked) -> dict[str, Any]:
    return {}


async def _list(asked: Asked) -> dict[str, Any]:
    asked.caller.require(Scope.READ)
    return {"tools": tools.described(), **_FRESH}
