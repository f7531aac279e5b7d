"""Between API Gateway and an app: the events, the path prefix, the gateway's clock, CORS."""

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
from starlette.types import ASGIApp, Receive, Scope, Send

from crewrelay.http.correlation import CORRELATION_ID
from crewrelay.http.problems import MEDIA_TYPE, problem
from crewrelay.jobs.ports import Clock
from crewrelay.logs import by_request

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class StagePath:
    """Sets `root_path` to the part of the client's path that is not the app's: a stage, or a custom domain's base path.

    `path` has the stage taken off but keeps a base path; only `resource` shows where the app's own path begins.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (event := scope.get("aws.event")):
            sent = unquote(event["requestContext"].get("path") or event["path"])
            own = unquote(_own_path(event))
            ours = "" if own == "/" else own  # a stage may be called without a slash at its end
            root = sent.removesuffix(ours).rstrip("/") if sent.endswith(ours) else ""
            scope = {**scope, "root_path": root, "path": root + own}
        await self._app(scope, receive, send)


def _own_path(event: dict[str, Any]) -> str:
    """The resource, such as `/crewai/status/{job_id}`, with its parameters filled in. SAM's sample has `/` in them."""
    parameters = event.get("pathParameters") or {}
    resource: str = event.get("resource") or "/{?}"
    if not parameters.keys() >= set(_PARAMETER.findall(resource)):
        return str(event["path"])
    return _PARAMETER.sub(lambda match: parameters[match[1]].removeprefix("/"), resource)


_PARAMETER = re.compile(r"{([^{}+]++)\+?}")


def received_at(request: Request, clock: Clock) -> datetime:
    """When the gateway got the request, by its own clock. Its time limit counts from there."""
    epoch = request.scope.get("aws.event", {}).get("requestContext", {}).get("requestTimeEpoch")
    return clock() if epoch is None else min(clock(), datetime.fromtimestamp(epoch / 1000, UTC))


def with_cors(origin: str, app: ASGIApp) -> ASGIApp:
    """CORS for one origin; `*` allows any, an empty string none. On AWS the gateway answers preflights."""
    if not origin:
        return app
    return CORSMiddleware(
        app,
        allow_origins=[origin],
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=(
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-None-Match",
            "Prefer",
            CORRELATION_ID,
            "traceparent",
        ),
        expose_headers=("ETag", "Link", "Location", "Preference-Applied", "Retry-After", CORRELATION_ID),
    )


def lambda_handler(app: ASGIApp) -> Handler:
    """The app as a Lambda function behind a REST API. It may be called from any thread."""
    text = [*DEFAULT_TEXT_MIME_TYPES, MEDIA_TYPE, "application/a2a+json"]
    adapter = partial(Mangum, StagePath(app), lifespan="off", text_mime_types=text)

    @by_request
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if "httpMethod" not in event:
            return _not_a_rest_event()
        with asyncio.Runner() as runner:
            runner.get_loop()  # Mangum runs on the thread's own event loop, and only the main thread has one
            answer: dict[str, Any] = adapter()(event, context)
            return answer

    return handler


def _not_a_rest_event() -> dict[str, Any]:
    answer = problem(
        501,
        "unsupported_event",
        "The event is not one of a REST API: it has no httpMethod.",
        "Call the function through a REST API, as template.yaml does. For an HTTP API, set payload format version 1.0.",
    )
    return {
        "statusCode": answer.status_code,
        "headers": {"content-type": MEDIA_TYPE},
        "body": bytes(answer.body).decode(),
    }
