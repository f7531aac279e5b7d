"""What both apps have in common: limits on the body, problems for every error, HEAD, and the API's documentation."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewrelay import __version__
from crewrelay.http.body import BodyLimit
from crewrelay.http.callers import set_anonymous
from crewrelay.http.correlation import Correlation
from crewrelay.http.document import describe, operation_id
from crewrelay.http.links import base_url
from crewrelay.http.problems import answer_with_problems
from crewrelay.jobs.access import Caller

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same key and body return the same job; the same key with another body is refused.",
    ),
]


class _App(FastAPI):
    def setup(self) -> None:
        """FastAPI's own routes, but with a document whose server is the address that was asked."""
        self.add_route("/openapi.json", self._document, include_in_schema=False)
        super().setup()

    async def _document(self, request: Request) -> JSONResponse:
        return JSONResponse(self.openapi() | {"servers": [{"url": base_url(request)}]})

    def build_middleware_stack(self) -> ASGIApp:
        return Head(Correlation(super().build_middleware_stack()))  # Correlation: around what answers 500, too


class Head:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self._app(scope, receive, send)

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_without_body)


def new_app(
    description: str, anonymous: Caller | None, also_documented: Callable[[], Iterable[BaseRoute]] = tuple
) -> FastAPI:
    """`anonymous`: see `set_anonymous`. `also_documented`: routes of another function under the same address."""
    app = _App(
        title="crewrelay",
        version=__version__,
        description=description,
        redirect_slashes=False,
        docs_url=None,  # see `front_routes`
        redoc_url=None,
        generate_unique_id_function=operation_id,
    )
    app.add_middleware(BodyLimit)
    answer_with_problems(app)
    set_anonymous(app, anonymous)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app, also_documented(), with_tokens=anonymous is None)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app
