"""What an error of a tool means. The errors are those of the real libraries that tools are written with, from a server
that breaks off in the middle of an answer.
"""

import asyncio
import errno
import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import aiohttp
import httpx
import pytest
import requests
import urllib3

from crewrelay.crews.models.failures import explain, may_pass

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
BROKEN = {
    "says nothing": None,
    "hangs up": b"",
    "ends before its length": HEAD + b"Content-Length: 100\r\n\r\nhalf",
    "ends within a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",
}


@contextmanager
def serving(said: bytes | None) -> Iterator[str]:
    """Each connection hears this and its end; with None, nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                kept.append(connection)
                if said is not None:
                    connection.recv(4096)
                    connection.sendall(said)
                    connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


def with_requests(url: str, timeout: float) -> None:
    requests.get(url, timeout=timeout).raise_for_status()


def with_urllib(url: str, timeout: float) -> None:
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        answer.read()


def with_urllib3(url: str, timeout: float) -> None:
    with urllib3.PoolManager() as pool:
        pool.request("GET", url, timeout=timeout, retries=False)


def with_urllib3_as_it_comes(url: str, timeout: float) -> None:
    with urllib3.PoolManager() as pool:
        pool.request("GET", url, timeout=timeout, retries=1)


def with_httpx(url: str, timeout: float) -> None:
    httpx.get(url, timeout=timeout).raise_for_status()


def with_aiohttp(url: str, timeout: float) -> None:
    async def ask() -> None:
        limit = aiohttp.ClientTimeout(total=timeout)
        async with aiohttp.ClientSession(timeout=limit, raise_for_status=True) as session, session.get(url) as answer:
            await answer.read()

    asyncio.run(ask())


CLIENTS = [with_requests, with_urllib, with_urllib3, with_urllib3_as_it_comes, with_httpx, with_aiohttp]


def error_of(client: Callable[[str, float], None], url: str, timeout: float = 20) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011  # whatever the library raises
        client(url, timeout)
    return raised.value


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_a_tool_did_not_get_whole_may_come_the_next_time(
    client: Callable[[str, float], None], said: bytes | None
) -> None:
    with serving(said) as url:
        error = error_of(client, url, 20 if said is not None else 0.1)
    assert may_pass(error), repr(error)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_a_tool_does_not_reach_may_be_there_the_next_time(client: Callable[[str, float], None]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = error_of(client, f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert may_pass(error), repr(error)


@pytest.mark.parametrize("client", [with_requests, with_urllib, with_httpx, with_aiohttp])
@pytest.mark.parametrize(("status", "passes"), [(503, True), (429, True), (404, False), (401, False)])
def test_a_status_that_a_tool_was_answered_with_counts(
    client: Callable[[str, float], None], status: int, passes: bool
) -> None:
    with serving(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n".encode()) as url:
        failure = explain(error_of(client, url))
    assert failure.retryable is passes
    assert failure.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), True),
        (urllib.error.URLError(socket.gaierror(socket.EAI_NONAME, "Name or service not known")), True),
        (urllib.error.URLError(TimeoutError("timed out")), True),
        (urllib.error.URLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol")), True),
        (urllib.error.URLError(ssl.SSLCertVerificationError(1, "certificate verify failed")), False),
        (urllib.error.URLError("unknown url type: ftps"), False),
        (urllib.error.URLError(FileNotFoundError(errno.ENOENT, "No such file or directory")), False),
        (http.client.IncompleteRead(b"half", 96), True),
        (http.client.RemoteDisconnected("Remote end closed connection without response"), True),
        (http.client.InvalidURL("nonnumeric port"), False),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), True),
        (OSError(errno.EHOSTUNREACH, "No route to host"), True),
        (requests.exceptions.ConnectTimeout("too slow"), True),
        (requests.exceptions.ReadTimeout("too slow"), True),
        (requests.exceptions.ChunkedEncodingError("broken"), True),
        (requests.exceptions.JSONDecodeError("Expecting value", "", 0), False),
        (requests.exceptions.MissingSchema("no scheme"), False),
        (requests.exceptions.TooManyRedirects("round and round"), False),
        (asyncio.IncompleteReadError(b"half", 100), True),
    ],
    ids=repr,
)
def test_what_a_tools_library_says_is_lost_may_pass_and_nothing_else(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
