"""Plays API Gateway in front of the API function's own app: routes /crewai/run to the crew process, and says no
in time when that doesn't answer.
"""

import asyncio
import time

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from crewrelay import __version__
from crewrelay.local.stack import Stack

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


class Gateway:
    """`limit` is the integration timeout in seconds: what API Gateway waits before it answers 504 itself."""

    def __init__(self, stack: Stack, limit: float) -> None:
        self._stack = stack
        self._limit = limit
        self._client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None), trust_env=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/crewai/run":
            answer = await self._run(Request(scope, receive))
        elif scope["path"] == "/health" and not self._stack.api.done():
            # Alive from the first moment: the API itself takes a second to import.
            answer = JSONResponse({"status": "ok", "version": __version__})
        else:
            api = await asyncio.shield(self._stack.api)
            return await api(scope, receive, send)
        await answer(scope, receive, send)

    async def _run(self, request: Request) -> Response:
        received = time.time()
        try:
            async with asyncio.timeout(self._limit):
                base = await self._stack.crew_url()
                forwarded = await self._client.request(
                    request.method,
                    base + "/crewai/run",
                    content=request.stream(),
                    headers=[
                        *((name, value) for name, value in request.headers.items() if name not in _HOP_BY_HOP),
                        ("x-crewrelay-received-at", str(int(received * 1000))),
                    ],
                    timeout=None,
                )
        except TimeoutError:
            return _unavailable(504, "The crew process did not answer in time.")
        except httpx.TransportError:
            return _unavailable(503, "The crew process went away and is being started again.")
        headers = {name: value for name, value in forwarded.headers.items() if name not in _HOP_BY_HOP}
        return Response(forwarded.content, forwarded.status_code, headers)


def _unavailable(status: int, detail: str) -> Response:
    from crewrelay.http.problems import problem_of
    from crewrelay.jobs.errors import Unavailable

    answer = problem_of(Unavailable(detail))
    answer.status_code = status
    return answer
