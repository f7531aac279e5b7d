"""Which request bodies are read: up to 256 KB, or 4 MB of a batch, uncompressed, in UTF-8. Others are refused."""

from email.message import Message as Headed

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewrelay.http.problems import plain_problem

LARGEST_BODY = 256 * 1024  # bytes
LARGEST_BATCH = 4 * 1024 * 1024  # as an event, with its quotation marks escaped, within Lambda's 6 MB
_BATCH = "/crewai/run/batch"
_FILE = "/crewai/batches"
_CHARSETS = ("utf-8", "utf8", "us-ascii")


class BodyLimit:
    """Refuses a body that is too large, whatever its Content-Length says, or in an encoding that is not read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["path"].endswith(_FILE):  # which is not in memory: uploads.py has its limits
            refusal = _encoded(Headers(scope=scope)) or self._app
            return await refusal(scope, receive, send)
        body, largest = bytearray(), LARGEST_BATCH if scope["path"].endswith(_BATCH) else LARGEST_BODY
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > largest:
                refusal = plain_problem(413, f"The body is larger than {largest:,} bytes.")
                return await refusal(scope, receive, send)
            if not message.get("more_body"):
                break
        if body and (encoded := _encoded(Headers(scope=scope))):
            return await encoded(scope, receive, send)
        await self._app(scope, _replayed(bytes(body), receive), send)


def _encoded(headers: Headers) -> Response | None:
    """The refusal of a body that is compressed or not in UTF-8. Accept-Encoding: RFC 9110, section 12.5.3."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", ""):
        return plain_problem(415, "The body is compressed.", {"Accept-Encoding": "identity"})
    content_type = Headed()
    content_type["Content-Type"] = headers.get("content-type", "")
    if str(content_type.get_param("charset", "utf-8")).lower() not in _CHARSETS:
        return plain_problem(415, "The body is not in UTF-8.")
    return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
