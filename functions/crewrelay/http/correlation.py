"""The correlation id of a request, in all its log lines: the caller's own, the trace's, the gateway's, or a new one."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewrelay.jobs.log_keys import add_log_keys, correlation_id_of

CORRELATION_ID = "X-Correlation-Id"

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Correlation:
    """Puts the id into the logs and the answer. A malformed one of the caller's is ignored."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        found = _sent(Headers(scope=scope)) or _of_gateway(scope) or str(uuid.uuid4())
        add_log_keys(correlation_id=found)  # until the request ends: each has its own context

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[CORRELATION_ID] = found
            await send(message)

        await self._app(scope, receive, send_with_id)


def _sent(headers: Headers) -> str | None:
    """https://www.w3.org/TR/trace-context/#traceparent-header"""
    trace = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return correlation_id_of(headers.get(CORRELATION_ID)) or (trace[1] if trace else None)


def _of_gateway(scope: Scope) -> str | None:
    return correlation_id_of(scope.get("aws.event", {}).get("requestContext", {}).get("requestId"))
