"""The local API Gateway in front of the API function's app: calls the authorizer, forwards /crewai/run to a crew
process, and enforces the integration timeout. On loopback the Host must be a loopback name (DNS rebinding).
"""

import asyncio
import json
import time
from collections.abc import Iterable

import httpx
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from crewrelay import __version__
from crewrelay.local.child import CALLER, GATEWAY, RECEIVED_AT
from crewrelay.local.loopback import leads_here
from crewrelay.local.stack import Stack

# A connection's own, or ours to say.
_NOT_PASSED_ON = {
    b"connection",
    b"keep-alive",
    b"transfer-encoding",
    b"te",
    b"trailer",
    b"upgrade",
    b"host",
    b"content-length",
    b"date",
    b"server",
    *(name.encode() for name in (RECEIVED_AT, CALLER, GATEWAY)),
}


class Gateway:
    """`limit` is the integration timeout in seconds, after which the gateway responds 504. `host` is accepted as Host
    header in addition to loopback names; None accepts any.
    """

    def __init__(self, stack: Stack, limit: float, host: str | None) -> None:
        self._stack = stack
        self._limit = limit
        self._host = host
        self._app: ASGIApp | None = None
        self._client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None), trust_env=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._host is not None and not leads_here(Headers(scope=scope).get("host", ""), self._host):
            await _misdirected()(scope, receive, send)
        elif scope["path"] == "/health" and not self._stack.api.done():
            # Alive from the first moment: the API itself takes a second to import.
            await JSONResponse({"status": "ok", "version": __version__})(scope, receive, send)
        else:
            guarded = await self._guarded()
            await guarded(scope, receive, send)

    async def _guarded(self) -> ASGIApp:
        """The router behind the authorizer, if there is one; built once, because the authorizer caches."""
        guard = await asyncio.shield(self._stack.guard)
        if self._app is None:
            self._app = guard(self._route)
        return self._app

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/crewai/run":
            from crewrelay.http.edge import BodyLimit  # not before /health answers

            await BodyLimit(self._forward)(scope, receive, send)
        else:
            api = await asyncio.shield(self._stack.api)
            await api(scope, receive, send)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._ask_crew(Request(scope, receive))
        await answer(scope, receive, send)

    async def _ask_crew(self, request: Request) -> Response:
        own = {RECEIVED_AT: str(int(time.time() * 1000)), GATEWAY: self._stack.secret}
        if event := request.scope.get("aws.event"):
            own[CALLER] = json.dumps(event["requestContext"]["authorizer"])
        headers = [*_passed_on(request.headers.raw), *((name.encode(), own[name].encode()) for name in own)]
        try:
            async with asyncio.timeout(self._limit):
                body = await request.body()
                try:
                    forwarded = await self._to_a_crew(request.method, body, headers)
                except httpx.ConnectError:  # it is about to end: nothing was sent, and another one may be there
                    forwarded = await self._to_a_crew(request.method, body, headers)
        except TimeoutError:
            return _unavailable(504, "The crew process did not answer in time.")
        except httpx.TransportError:
            return _unavailable(503, "The crew process went away and is being started again.")
        response = Response(forwarded.content, forwarded.status_code)
        response.raw_headers += _passed_on(forwarded.headers.raw)
        return response

    async def _to_a_crew(self, method: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> httpx.Response:
        url = await self._stack.crew_url() + "/crewai/run"
        return await self._client.request(method, url, content=body, headers=headers, timeout=None)


def _passed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers to forward, as bytes, because values need not be text."""
    return [(name, value) for name, value in headers if name.lower() not in _NOT_PASSED_ON]


def _misdirected() -> Response:
    from crewrelay.http.problems import problem

    detail = "Only this machine's own names lead here, such as localhost and 127.0.0.1."
    remedy = "Call it by one of them. To have it answer to others, start it with their address and with tokens: "
    return problem(421, "misdirected", detail, remedy + "`make serve HOST=0.0.0.0 AUTH=1`.")


def _unavailable(status: int, detail: str) -> Response:
    from crewrelay.http.problems import RETRY_AFTER, problem
    from crewrelay.jobs.errors import Unavailable

    remedy = "The job may be under way. Send an Idempotency-Key with each run, and repeat the same request to find it."
    return problem(status, Unavailable.code, detail, remedy, headers={"Retry-After": str(RETRY_AFTER)})
