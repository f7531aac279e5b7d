"""One id by which a request and all that comes of it is found in every log: the caller's own, the trace's, or ours."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewrelay.jobs.log_keys import add_log_keys, correlation_id_of

CORRELATION_ID = "X-Correlation-Id"

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Correlation:
    """Answers with the id in use. One that was sent in another form is no reason to refuse the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        found = _sent(Headers(scope=scope)) or _of_gateway(scope) or str(uuid.uuid4())
        add_log_keys(correlation_id=found)  # for the rest of the request: each has a context of its own

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
