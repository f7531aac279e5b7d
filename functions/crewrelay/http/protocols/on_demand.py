"""Serves a protocol under its prefix. Its module is imported at the first request, so a cold start pays nothing."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol, cast

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from crewrelay.http.callers import set_anonymous
from crewrelay.http.problems import HANDLERS, Handler
from crewrelay.http.services import Services
from crewrelay.jobs.access import Caller
from crewrelay.jobs.errors import Misconfigured

PREFIXES = {"amp": "/amp", "openai": "/v1", "mcp": "/mcp", "a2a": "/a2a"}


class _Module(Protocol):
    def routes(self, services: Services) -> APIRouter:
        """The protocol's routes, with their whole paths."""

    def refusal(self, problem: Mapping[str, Any]) -> Mapping[str, Any]:
        """One of our problems in the protocol's own form."""


def protocol_routes(names: Iterable[str], services: Services, anonymous: Caller | None) -> Iterator[BaseRoute]:
    """`anonymous`: see `set_anonymous`. Raises Misconfigured for an unknown name."""
    for name in names:
        if name not in PREFIXES:
            raise Misconfigured(f"CREWRELAY_PROTOCOLS: {name!r} is none of {', '.join(PREFIXES)}")
        yield OnDemand(PREFIXES[name], f"{__package__}.{name}", services, anonymous)


class OnDemand(BaseRoute):
    """All paths under `prefix`."""

    def __init__(self, prefix: str, module: str, services: Services, anonymous: Caller | None) -> None:
        self._prefix = prefix
        self._module = module
        self._services = services
        self._anonymous = anonymous

    @cached_property
    def app(self) -> FastAPI:
        module = cast(_Module, import_module(self._module))
        app = FastAPI(openapi_url=None, redirect_slashes=False)
        set_anonymous(app, self._anonymous)
        for kind, handler in HANDLERS.items():
            app.add_exception_handler(kind, _in_form_of(module, handler))
        app.include_router(module.routes(self._services))
        return app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        ours = path == self._prefix or path.startswith(f"{self._prefix}/")
        return (Match.FULL if ours and scope["type"] == "http" else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def _in_form_of(module: _Module, handler: Handler) -> Handler:
    async def handle(request: Request, error: Exception) -> Response:
        answer = await handler(request, error)
        content = json.dumps(module.refusal(json.loads(bytes(answer.body))), ensure_ascii=False)
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        return Response(content, answer.status_code, headers, "application/json")

    return handle
