"""The OpenAPI document: FastAPI's own, with what generated clients and linters need besides."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from crewrelay.http.problems import MEDIA_TYPE, Problem

Document = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]

TAGS = [
    {"name": "jobs", "description": "Run crews, follow their jobs, cancel, retry and answer them."},
    {"name": "batches", "description": "Many jobs of one request."},
    {"name": "webhooks", "description": "What webhooks were told, and the secret that signs it."},
    {"name": "crews", "description": "The crews of this deployment and their inputs."},
    {"name": "service", "description": "The service itself. These need no token."},
]
CONTACT = {"name": "crewrelay contributors"}

LOCATION = {"Location": {"description": "The path of the job's status.", "schema": {"type": "string"}}}
RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait before the next request.", "schema": {"type": "integer"}}
}
PREFERENCE = {
    "Preference-Applied": {"description": "The preferences that were applied (RFC 7240).", "schema": {"type": "string"}}
}
ETAG = {"ETag": {"description": "Changes with what the status shows (RFC 9110).", "schema": {"type": "string"}}}
LINK = {"Link": {"description": "The address of the next lines (RFC 8288).", "schema": {"type": "string"}}}
_CHALLENGE = {
    "WWW-Authenticate": {"description": "The authentication scheme (RFC 6750).", "schema": {"type": "string"}}
}

_PROBLEMS = {
    400: "The body is not a JSON object",
    401: "The request has no valid token",
    403: "The token lacks the required scope, or may not search the collection",
    404: "There is no such job or batch",
    409: "The job's state does not allow this",
    413: "The body is larger than 256 KB, or 4 MB of a batch",
    415: "The body is compressed, or not in UTF-8",
    422: "A field breaks a rule, or the idempotency key was used with another body",
    429: "More requests, or more unfinished jobs, than are allowed: try again after Retry-After seconds",
    502: "The crew failed; the job's status has the reason",
    503: "Try again after Retry-After seconds",
}
_SUBMISSIONS = {"/crewai/run": "job_id", "/crewai/run/async": "job_id", "/crewai/run/batch": "batch_id"}
_HEADERS = {401: _CHALLENGE, 403: _CHALLENGE, 429: RETRY_AFTER, 502: LOCATION, 503: RETRY_AFTER}


def problems(*statuses: int) -> Responses:
    """The documentation of a route's refusals. The gateway throttles every route, and asks most of them for a token."""
    return _described(401, 403, 429, *statuses)


def _described(*statuses: int) -> Responses:
    return {
        status: {"model": Problem, "description": _PROBLEMS[status], "headers": _HEADERS.get(status, {})}
        for status in statuses
    }


OF_OPEN_ROUTES = _described(429)


def operation_id(route: APIRoute) -> str:
    """The function's own name: short, and the same in every release."""
    return route.name


def describe(app: FastAPI, routes: Iterable[BaseRoute], with_tokens: bool) -> Document:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        contact=CONTACT,
        tags=TAGS,
        routes=[*app.routes, *routes],
    )
    for operation in _operations(document):
        _mark_problems(operation)
        _drop_type_beside_reference(operation)
        _drop_null_parameters(operation)
        _tell_scope(operation)
    _link(document)
    return document if with_tokens else _without_tokens(document)


def _operations(document: Document) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _mark_problems(operation: dict[str, Any]) -> None:
    """FastAPI documents every answer of a route with one media type; those from 400 up are problem+json."""
    for status, answer in operation["responses"].items():
        if status >= "400":
            (content,) = answer["content"].values()
            answer["content"] = {MEDIA_TYPE: content}


def _drop_type_beside_reference(operation: dict[str, Any]) -> None:
    """What FastAPI adds to an answer that is not JSON: nothing is both of its schema and a string."""
    for answer in operation["responses"].values():
        for content in answer.get("content", {}).values():
            if "$ref" in content["schema"]:
                content["schema"].pop("type", None)


def _drop_null_parameters(operation: dict[str, Any]) -> None:
    """A parameter may be left out, which FastAPI describes as null; there is no null in a header or a query."""
    for parameter in operation.get("parameters", []):
        alternatives = parameter["schema"].pop("anyOf", [])
        for schema in alternatives:
            if schema.get("type") != "null":
                parameter["schema"] |= schema


def _tell_scope(operation: dict[str, Any]) -> None:
    """In words: not every tool takes scopes of a bearer token. No requirement at all says that it needs no token."""
    for requirement in operation.setdefault("security", []):
        for name, scopes in requirement.items():
            operation["description"] += f"\n\nThe token needs the scope {', '.join(f'`{scope}`' for scope in scopes)}."
            requirement[name] = []


def _link(document: Document) -> None:
    """From where a job or batch is submitted to what its id is for."""
    for path, id_ in _SUBMISSIONS.items():
        links = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {id_: f"$response.body#/{id_}"},
            }
            for other, item in document["paths"].items()
            for operation in item.values()
            if other.count("{") == 1 and f"{{{id_}}}" in other
        }
        for status, answer in document["paths"].get(path, {}).get("post", {"responses": {}})["responses"].items():
            if status < "300":
                answer["links"] = links


def _without_tokens(document: Document) -> Document:
    """The document of an app that asks for none."""
    del document["components"]["securitySchemes"]
    for operation in _operations(document):
        if operation["security"]:
            operation["security"] = []
            for status in ("401", "403"):
                del operation["responses"][status]
    return document
