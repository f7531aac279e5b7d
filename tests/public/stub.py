"""Answers every HTTP request of this process itself; nothing leaves it."""

import io
import json
import socket
from typing import Any, NoReturn

import httpx
import requests

_FOUND = {
    "title": "A page",
    "link": "https://example.org/page",
    "url": "https://example.org/page",
    "snippet": "A text.",
}
BODY = json.dumps({"organic": [_FOUND], "results": [_FOUND], "data": [_FOUND], "text": "Text.", "id": "1"}).encode()


def answer_all_requests() -> None:
    for owner, name, own in (
        (requests.adapters.HTTPAdapter, "send", _of_requests),
        (httpx.HTTPTransport, "handle_request", _of_httpx),
        (httpx.AsyncHTTPTransport, "handle_async_request", _of_httpx_async),
        (socket.socket, "connect", _refuse),
    ):
        setattr(owner, name, own)


def _of_requests(_: Any, request: requests.PreparedRequest, **options: Any) -> requests.Response:
    response = requests.Response()
    response.status_code, response.url, response.request = 200, str(request.url), request
    response.headers["Content-Type"] = "application/json"
    response.raw = io.BytesIO(BODY)
    return response


def _of_httpx(_: Any, request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "application/json"}, content=BODY, request=request)


async def _of_httpx_async(_: Any, request: httpx.Request) -> httpx.Response:
    return _of_httpx(_, request)


def _refuse(_: Any, address: Any) -> NoReturn:
    raise ConnectionRefusedError(f"no connections here: {address}")
