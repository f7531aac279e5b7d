"""The body and the version of a request."""

from email.message import Message
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from crewrelay.http.protocols.a2a.errors import BodyTypeNotSupported, ParseError, VersionNotSupported
from crewrelay.jobs.errors import InvalidRequest


async def json_body(request: Request) -> Any:
    """Raises ParseError; BodyTypeNotSupported for what a page of another origin could send without a preflight."""
    headed = Message()
    headed["Content-Type"] = request.headers.get("content-type", "")
    if not headed.get_content_subtype().endswith("json"):
        raise BodyTypeNotSupported("The body came without a Content-Type of JSON.")
    try:
        return from_json(await request.body(), allow_inf_nan=False)
    except ValueError:
        raise ParseError("The body is not valid JSON.") from None


async def json_object(request: Request) -> dict[str, Any]:
    """Raises BodyTypeNotSupported, ParseError, InvalidRequest."""
    body = await json_body(request)
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return body


def require_version(request: Request, *served: str) -> None:
    """Raises VersionNotSupported. A request that names none is understood by its path or method."""
    version = request.headers.get("a2a-version") or request.query_params.get("A2A-Version", "")
    if version and version not in served:
        raise VersionNotSupported(f"A2A-Version {version[:20]!r} is not served here.")
