"""Every error is RFC 9457 problem+json: a stable `type`, what was wrong, and what to do."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from crewrelay.jobs.errors import CrewrelayError, InvalidRequest, MissingScope, Unauthenticated

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_MOST_COMPLAINTS = 20  # a short answer even to thousands of wrong fields
_LONGEST_NAME = 100
Handler = Callable[[Request, Exception], Awaitable[Response]]

RETRY_SECONDS = 5  # of Retry-After: with every retryable error and every job under way

_REMEDIES = {
    404: ("no_such_path", "See /docs for the paths of this API."),
    405: ("method_not_allowed", "Use a method of the Allow header."),
    413: ("body_too_large", "Send at most 256 KB, or 4 MB to /crewai/run/batch."),
    415: ("unsupported_encoding", "Send JSON in UTF-8, without compression."),
    400: ("not_json", "Send a JSON object with Content-Type: application/json."),
}


class FieldError(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457, with `remedy` and, for a rejected body, what is wrong with each field."""

    type: str
    title: str
    status: int
    detail: str
    remedy: str
    errors: list[FieldError] = []


def problem(
    status: int, code: str, detail: str, remedy: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    return JSONResponse(_content(status, code, detail, remedy) | more, status, dict(headers or {}), MEDIA_TYPE)


def _content(status: int, code: str, detail: str, remedy: str) -> dict[str, Any]:
    return {
        "type": f"urn:crewrelay:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "remedy": remedy,
    }


def content_of(error: CrewrelayError) -> dict[str, Any]:
    """The problem of one thing among others of an answer."""
    return _content(error.http, error.code, str(error), error.remedy)


def problem_of(error: CrewrelayError, /, **more: Any) -> JSONResponse:
    return problem(error.http, error.code, str(error), error.remedy, headers=_headers(error), **more)


def _headers(error: CrewrelayError) -> dict[str, str]:
    """WWW-Authenticate as RFC 6750 has it, or Retry-After."""
    match error:
        case Unauthenticated():
            return {"WWW-Authenticate": "Bearer"}
        case MissingScope():
            return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{error.scope}"'}
        case _:
            return {"Retry-After": str(RETRY_SECONDS)} if error.retryable else {}


def plain_problem(status: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> JSONResponse:
    code, remedy = _REMEDIES.get(status, ("http_error", "See /docs for how to call this API."))
    return problem(status, code, detail or f"{HTTPStatus(status).phrase}.", remedy, headers=headers)


async def _own(request: Request, error: Exception) -> Response:
    assert isinstance(error, CrewrelayError)
    if error.http >= 500:
        logger.error("%s %s failed", request.method, _route(request), exc_info=error)
    return problem_of(error)


async def _rejected(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _invalid(error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = f"There is no {request.method} {request.url.path}." if error.status_code in (404, 405) else None
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"
    return plain_problem(error.status_code, detail or error.detail, headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, _route(request), exc_info=error)
    return problem_of(CrewrelayError("The request could not be handled."))


# By the kind of error, what answers with its problem.
HANDLERS: Mapping[type[Exception], Handler] = {
    CrewrelayError: _own,
    RequestValidationError: _rejected,
    HTTPException: _http,
    Exception: _unexpected,
}


def answer_with_problems(app: FastAPI) -> None:
    """Register the handlers that turn every error of the app into a problem."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)


def _route(request: Request) -> str:
    """The route's path, without the caller's values."""
    return getattr(request.scope.get("route"), "path", "(no route)")


def _invalid(error: RequestValidationError) -> JSONResponse:
    items = error.errors()[:_MOST_COMPLAINTS]
    if any(item["type"] == "json_invalid" for item in items):
        return plain_problem(400, "The body is not valid JSON.")
    if any(item["loc"] == ("body",) for item in items):
        return plain_problem(400, "The body is not a JSON object, or came without Content-Type: application/json.")
    errors = [
        {
            "field": ".".join(str(part) for part in item["loc"][1:])[:_LONGEST_NAME],
            "message": item["msg"].removeprefix("Value error, "),
        }
        for item in items
    ]
    return invalid(errors)


def invalid(errors: list[dict[str, str]]) -> JSONResponse:
    """The refusal of a request with these errors, of which it names some."""
    errors = errors[:_MOST_COMPLAINTS]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors)
    return problem(InvalidRequest.http, InvalidRequest.code, detail, InvalidRequest.remedy, errors=errors)
