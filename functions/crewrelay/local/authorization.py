"""API Gateway's authorizer on one machine: asks the authorizer function who is calling, as template.yaml sets it up."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from crewrelay.http.edge import with_cors
from crewrelay.local.event_sources import Context, EventHandler
from crewrelay.local.resources import Template

logger = logging.getLogger(__name__)

_STAGE = "arn:aws:execute-api:us-east-1:123456789012:local/prod"


class Authorization:
    """Passes on the requests that the authorizer allows, with the caller in `aws.event` as Lambda would have it. What
    was allowed is cached for as long as API Gateway caches it.
    """

    def __init__(
        self, app: ASGIApp, handler: EventHandler, template: Template, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._handler = handler
        self._clock = clock
        resources = template["Resources"]
        gateway = resources["Api"]["Properties"]
        self._responses: dict[str, Any] = gateway["GatewayResponses"]
        (authorizer,) = gateway["Auth"]["Authorizers"].values()
        self._seconds: int = authorizer["Identity"]["ReauthorizeEvery"]
        self._timeout: float = resources["AuthorizerFunction"]["Properties"]["Timeout"]
        self._open = _open_paths(template)
        self._answers: dict[str, tuple[float, dict[str, Any]]] = {}  # by header, with the time until which they count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Browsers send no token with a preflight, and the gateway asks for none.
        if not self._open.fullmatch(scope["path"]) and scope["method"] != "OPTIONS":
            request = Request(scope)
            answer = await self._answer(request)
            if isinstance(answer, str):
                return await self._refusal(answer)(scope, receive, send)
            if not _allows(answer["policyDocument"], _method_arn(request)):
                return await self._refusal("ACCESS_DENIED")(scope, receive, send)
            scope = {**scope, "aws.event": {"requestContext": {"authorizer": answer["context"]}}}
        await self._app(scope, receive, send)

    async def _answer(self, request: Request) -> dict[str, Any] | str:
        """The authorizer's answer, or the type of the gateway's own response."""
        identity = ",".join(request.headers.getlist("authorization"))
        if not identity:
            return "UNAUTHORIZED"  # without the identity source API Gateway doesn't ask the authorizer
        now = self._clock()
        if identity in self._answers and now < self._answers[identity][0]:
            return self._answers[identity][1]
        try:
            answer: dict[str, Any] = await asyncio.to_thread(
                self._handler, _event(request), Context("authorizer", self._timeout)
            )
        except Exception as error:
            if str(error) == "Unauthorized":
                return "UNAUTHORIZED"
            logger.warning("the authorizer failed", exc_info=True)
            return "AUTHORIZER_CONFIGURATION_ERROR"
        self._answers = {key: kept for key, kept in self._answers.items() if now < kept[0]}
        self._answers[identity] = (now + self._seconds, answer)
        return answer

    def _refusal(self, kind: str) -> Response:
        response = self._responses[kind]
        said = response["ResponseParameters"]["Headers"].items()
        # Those with a parameter in them are CORS's, which stands around this.
        headers = {name: value.strip("'") for name, value in said if isinstance(value, str)}
        return Response(response["ResponseTemplates"]["application/json"], int(response["StatusCode"]), headers)


def guard(app: ASGIApp, origin: str, authorizer: EventHandler | None, template: Template) -> ASGIApp:
    """The app as API Gateway guards it: with CORS, which the gateway's refusals have too, behind the authorizer."""
    return with_cors(origin, Authorization(app, authorizer, template) if authorizer else app)


def _open_paths(template: Template) -> re.Pattern[str]:
    """What the paths that need no token match: one segment for each `{parameter}`."""
    events = [
        event["Properties"]
        for resource in template["Resources"].values()
        for event in resource["Properties"].get("Events", {}).values()
        if event["Type"] == "Api"
    ]
    paths = [event["Path"] for event in events if event.get("Auth", {}).get("Authorizer") == "NONE"]
    return re.compile("|".join(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) for path in paths))


def _method_arn(request: Request) -> str:
    return f"{_STAGE}/{request.method}{request.url.path}"


def _event(request: Request) -> dict[str, Any]:
    """A REQUEST event, as far as an authorizer reads it.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html
    """
    event = {
        "type": "REQUEST",
        "methodArn": _method_arn(request),
        "resource": "/{proxy+}",
        "path": request.url.path,
        "httpMethod": request.method,
        "headers": dict(request.headers.items()),
        "multiValueHeaders": {name: request.headers.getlist(name) for name in request.headers},
        "queryStringParameters": dict(request.query_params),
        "pathParameters": {"proxy": request.url.path.removeprefix("/")},
        "stageVariables": {},
        "requestContext": {"stage": "prod", "httpMethod": request.method, "path": f"/prod{request.url.path}"},
    }
    copy: dict[str, Any] = json.loads(json.dumps(event))
    return copy


def _allows(policy: dict[str, Any], method_arn: str) -> bool:
    matching = [s["Effect"] for s in policy["Statement"] if fnmatchcase(method_arn, s["Resource"])]
    return "Allow" in matching and "Deny" not in matching
