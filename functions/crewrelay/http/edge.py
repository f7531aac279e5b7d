"""What stands between API Gateway and an app: its path prefix, its clock, a limit on the body, foreign pages."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewrelay.http.correlation import CORRELATION_ID
from crewrelay.http.problems import MEDIA_TYPE, plain_problem
from crewrelay.jobs.ports import Clock
from crewrelay.logs import by_request

LARGEST_BODY = 256 * 1024  # bytes

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class BodyLimit:
    """Refuses a body over the limit, announced or not, before the app reads it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > LARGEST_BODY:
                refusal = plain_problem(413, f"The body is larger than {LARGEST_BODY:,} bytes.")
                return await refusal(scope, receive, send)
            if not message.get("more_body"):
                break
        await self._app(scope, _replayed(bytes(body), receive), send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class StagePath:
    """Tells the app which part of the client's path is not its own: the stage, or a custom domain's base path.

    `path` has the stage taken off but keeps a base path; only `resource` says what is ours for certain.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (event := scope.get("aws.event")):
            sent = unquote(event["requestContext"].get("path") or event["path"])
            own = unquote(_own_path(event))
            root = sent.removesuffix(own) if sent.endswith(own) else ""
            scope = {**scope, "root_path": root, "path": root + own}
        await self._app(scope, receive, send)


def _own_path(event: dict[str, Any]) -> str:
    """`/crewai/status/{job_id}` with its parameters filled in."""
    parameters = event.get("pathParameters") or {}
    resource: str = event.get("resource") or "/{?}"
    if not parameters.keys() >= set(_PARAMETER.findall(resource)):
        return str(event["path"])
    return _PARAMETER.sub(lambda match: parameters[match[1]], resource)


_PARAMETER = re.compile(r"{([^{}+]++)\+?}")


def received_at(request: Request, clock: Clock) -> datetime:
    """When the gateway got the request, by its own clock; its time limit counts from there."""
    epoch = request.scope.get("aws.event", {}).get("requestContext", {}).get("requestTimeEpoch")
    return clock() if epoch is None else min(clock(), datetime.fromtimestamp(epoch / 1000, UTC))


def with_cors(origin: str, app: ASGIApp) -> ASGIApp:
    """Lets the origin's pages call the app; `*` is any, an empty one none. On AWS the gateway answers preflights."""
    if not origin:
        return app
    return CORSMiddleware(
        app,
        allow_origins=[origin],
        allow_methods=("GET", "POST"),
        allow_headers=("Authorization", "Content-Type", "Idempotency-Key", "Prefer", CORRELATION_ID, "traceparent"),
        expose_headers=("Location", "Preference-Applied", "Retry-After", CORRELATION_ID),
    )


def lambda_handler(app: ASGIApp) -> Handler:
    """The app as a Lambda function behind a REST API; to be called from any thread."""
    adapter = partial(Mangum, StagePath(app), lifespan="off", text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, MEDIA_TYPE])

    @by_request
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        with asyncio.Runner() as runner:
            runner.get_loop()  # Mangum runs on the thread's own event loop, and only the main thread has one
            answer: dict[str, Any] = adapter()(event, context)
            return answer

    return handler
