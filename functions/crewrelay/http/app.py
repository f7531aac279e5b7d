"""What both apps have in common: the body limit, problems for every error, and their documentation."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from crewrelay import __version__
from crewrelay.http.callers import set_anonymous
from crewrelay.http.correlation import Correlation
from crewrelay.http.edge import BodyLimit
from crewrelay.http.problems import MEDIA_TYPE, Problem, answer_with_problems
from crewrelay.jobs.access import Caller

IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]

_PROBLEMS = {
    400: "The body is not a JSON object",
    401: "No valid token came with the request",
    403: "The token lacks the scope that this needs",
    404: "There is no such job",
    409: "The job has ended, and not in a way that this could change",
    413: "The body is larger than 256 KB",
    422: "A field breaks a rule, or the idempotency key was used with another body",
    429: "As many jobs are unfinished as may be at a time: try again after Retry-After seconds",
    502: "The crew failed; the job's status holds the reason",
    503: "Try again after Retry-After seconds",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documentation of a route's refusals; every one may refuse the caller."""
    return {status: {"model": Problem, "description": _PROBLEMS[status]} for status in (401, 403, *statuses)}


class _App(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        return Correlation(super().build_middleware_stack())  # around what answers 500, too


def new_app(
    description: str, anonymous: Caller | None, also_documented: Callable[[], Iterable[BaseRoute]] = tuple
) -> FastAPI:
    """`anonymous`: see `set_anonymous`. `also_documented`: routes of another function under the same address."""
    app = _App(title="crewrelay", version=__version__, description=description, redirect_slashes=False)
    app.add_middleware(BodyLimit)
    answer_with_problems(app)
    set_anonymous(app, anonymous)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            routes = [*app.routes, *also_documented()]
            document = get_openapi(title=app.title, version=app.version, description=description, routes=routes)
            document = _with_problems(document)
            app.openapi_schema = document if anonymous is None else _without_tokens(document)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI documents every answer as application/json; those from 400 up are problem+json."""
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if status >= "400":
                    answer["content"] = {MEDIA_TYPE: answer["content"].pop("application/json")}
    return document


def _without_tokens(document: dict[str, Any]) -> dict[str, Any]:
    """Of an app that wants none."""
    del document["components"]["securitySchemes"]
    for path in document["paths"].values():
        for operation in path.values():
            if operation.pop("security", None):
                for status in ("401", "403"):
                    del operation["responses"][status]
    return document


def status_url(request: Request, job_id: str) -> str:
    return f"{request.scope.get('root_path', '')}/crewai/status/{job_id}"
