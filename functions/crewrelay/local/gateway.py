"""API Gateway's part on one machine: asks the authorizer who is calling, sends /crewai/run to a crew process and the
rest to the API function's own app, and answers itself when a crew process doesn't in time. On loopback it answers only
to this machine's own names, so that no foreign page reaches it by DNS rebinding.
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

# Headers of one connection, and those that the gateway sets itself.
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
    """`limit` is the integration timeout: the seconds after which API Gateway answers 504 itself. `host` is the one
    name besides loopback's by which it may be called; None allows any.
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
            # Healthy from the first moment: the API takes a second to import.
            await JSONResponse({"status": "ok", "version": __version__})(scope, receive, send)
        else:
            guarded = await self._guarded()
            await guarded(scope, receive, send)

    async def _guarded(self) -> ASGIApp:
        """The routes behind CORS and the authorizer. Made once: the authorizer caches its answers."""
        guard = await asyncio.shield(self._stack.guard)
        if self._app is None:
            self._app = guard(self._route)
        return self._app

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/crewai/run":
            from crewrelay.http.body import BodyLimit  # not before /health answers

            await BodyLimit(self._forward)(scope, receive, send)
        else:
            api = await asyncio.shield(self._stack.api)
            await api(scope, receive, send)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._ask_crew(Request(scope, receive))
        await answer(scope, receive, send)

    async def _ask_crew(self, request: Request) -> Response:
        own = {"host": request.url.netloc, RECEIVED_AT: str(int(time.time() * 1000)), GATEWAY: self._stack.secret}
        if event := request.scope.get("aws.event"):
            own[CALLER] = json.dumps(event["requestContext"]["authorizer"])
        headers = [*_passed_on(request.headers.raw), *((name.encode(), own[name].encode()) for name in own)]
        try:
            async with asyncio.timeout(self._limit):
                body = await request.body()
                try:
                    forwarded = await self._to_a_crew(request.method, body, headers)
                except httpx.ConnectError:  # that process is ending: nothing was sent, and another may be there
                    forwarded = await self._to_a_crew(request.method, body, headers)
        except TimeoutError:
            return _unavailable(504, "The crew process did not answer in time.")
        except httpx.TransportError:
            return _unavailable(503, "The crew process ended and is being restarted.")
        response = Response(forwarded.content, forwarded.status_code)
        response.raw_headers += _passed_on(forwarded.headers.raw)
        return response

    async def _to_a_crew(self, method: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> httpx.Response:
        url = await self._stack.crew_url() + "/crewai/run"
        return await self._client.request(method, url, content=body, headers=headers, timeout=None)


def _passed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """As bytes, which need not be ASCII."""
    return [(name, value) for name, value in headers if name.lower() not in _NOT_PASSED_ON]


def _misdirected() -> Response:
    from crewrelay.http.problems import problem

    detail = "Only requests to this machine's own names are answered, such as localhost and 127.0.0.1."
    remedy = "Use one of them. To serve other machines, listen on all addresses and require tokens: "
    return problem(421, "misdirected", detail, remedy + "`make serve HOST=0.0.0.0 AUTH=1`.")


def _unavailable(status: int, detail: str) -> Response:
    from crewrelay.http.problems import RETRY_SECONDS, problem
    from crewrelay.jobs.errors import Unavailable

    remedy = (
        "The job may be in progress. Send an Idempotency-Key with each run, and repeat the same request to find it."
    )
    return problem(status, Unavailable.code, detail, remedy, headers={"Retry-After": str(RETRY_SECONDS)})
