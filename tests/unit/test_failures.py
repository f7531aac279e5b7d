"""What an error of a run means: whether it may pass, and what a person can do about it. The errors are real ones."""

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
from email.utils import format_datetime
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import requests
import urllib3
from botocore import exceptions as botocore

from crewrelay.crews.failures import explain, may_pass
from crewrelay.jobs.errors import BudgetExceeded, CrewrelayError, InvalidCrew, Unavailable
from crewrelay.system import utcnow

REQUEST = httpx.Request("POST", "https://models.example/v1/chat/completions")
PASSING = [408, 409, 425, 429, 500, 502, 503, 504, 529]
LASTING = [400, 401, 402, 403, 404, 413, 415, 422]


def of_openai(status: int, code: str | None = None) -> openai.APIStatusError:
    """As its client makes it."""
    body = {"message": "scripted", "code": code}
    with openai.OpenAI(api_key="none", base_url="https://models.example/v1") as client:
        return client._make_status_error(
            f"Error code: {status}", body=body, response=httpx.Response(status, request=REQUEST)
        )


def of_httpx(status: int) -> httpx.HTTPStatusError:
    with pytest.raises(httpx.HTTPStatusError) as raised:
        httpx.Response(status, request=REQUEST).raise_for_status()
    return raised.value


def of_botocore(status: int) -> botocore.ClientError:
    return botocore.ClientError(
        {"Error": {"Code": "Scripted", "Message": "scripted"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Converse",
    )


def raised_from(error: BaseException, cause: BaseException | None) -> BaseException:
    try:
        raise error from cause
    except BaseException as raised:
        return raised


def raised_while_handling(error: BaseException, handled: BaseException) -> BaseException:
    try:
        try:
            raise handled
        except BaseException:
            raise error  # noqa: B904
    except BaseException as raised:
        return raised


def a_refused_connection() -> BaseException:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.ConnectError) as raised:
            httpx.get(f"http://127.0.0.1:{taken.getsockname()[1]}")
    return raised.value


@pytest.mark.parametrize("make", [of_openai, of_httpx, of_botocore])
@pytest.mark.parametrize("status", PASSING)
def test_an_answer_that_asks_for_patience_may_pass(make: Callable[[int], Exception], status: int) -> None:
    error = make(status)
    failure = explain(error)
    assert (failure.type, failure.retryable) == (type(error).__name__, True)
    assert str(error) in failure.message


@pytest.mark.parametrize("make", [of_openai, of_httpx, of_botocore])
@pytest.mark.parametrize("status", LASTING)
def test_a_refusal_lasts(make: Callable[[int], Exception], status: int) -> None:
    assert not may_pass(make(status))


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "too long"),
        (401, "CREWRELAY_MODEL_API_KEY"),
        (402, "credit"),
        (403, "CREWRELAY_MODEL"),
        (404, "CREWRELAY_MODEL_BASE_URL"),
        (429, "rate limit"),
    ],
)
def test_a_status_comes_with_what_to_do(status: int, remedy: str) -> None:
    assert remedy in explain(of_openai(status)).message


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_a_quota_that_is_used_up_lasts_though_it_comes_as_429(code: str) -> None:
    failure = explain(raised_from(RuntimeError("The task failed."), of_openai(429, code)))
    assert (failure.type, failure.retryable) == ("RateLimitError", False)
    assert "quota" in failure.message


def test_another_code_of_a_429_may_pass() -> None:
    assert may_pass(of_openai(429, "rate_limit_exceeded"))


@pytest.mark.parametrize(
    "error",
    [
        openai.APIConnectionError(request=REQUEST),
        openai.APITimeoutError(request=REQUEST),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("too slow"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        botocore.EndpointConnectionError(endpoint_url="https://bedrock.example"),
        botocore.ReadTimeoutError(endpoint_url="https://bedrock.example"),
        botocore.ConnectTimeoutError(endpoint_url="https://bedrock.example"),
        botocore.ConnectionClosedError(endpoint_url="https://bedrock.example"),
        TimeoutError("too slow"),
        ConnectionResetError(104, "Connection reset by peer"),
        BrokenPipeError(32, "Broken pipe"),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_a_connection_that_is_lost_may_pass(error: Exception) -> None:
    failure = explain(error)
    assert (failure.type, failure.retryable) == (type(error).__name__, True)
    assert "did not answer" in failure.message


def test_a_connection_that_is_really_refused_may_pass() -> None:
    assert may_pass(a_refused_connection())


# ---- what tools are written with: the real libraries, and a server that breaks off in the middle of an answer

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


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such city"),
        KeyError("missing"),
        OSError(28, "No space left on device"),
        botocore.NoCredentialsError(),
        httpx.InvalidURL("no host"),
        httpx.TooManyRedirects("round and round"),
        SystemExit(1),
        KeyboardInterrupt(),
        AssertionError(),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_whatever_else_goes_wrong_would_go_wrong_again(error: BaseException) -> None:
    failure = explain(error)
    assert (failure.type, failure.retryable) == (type(error).__name__, False)
    assert failure.message


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        ("1.5", 1.5),
        (" 7 ", 7),
        ("0", 0),
        ("-3", 0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_an_answer_says_when_to_come_back(status: int, header: str, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    response = httpx.Response(status, request=REQUEST, headers={"Retry-After": header})
    with openai.OpenAI(api_key="none", base_url="https://models.example/v1") as client:
        refused = client._make_status_error("refused", body=None, response=response)
    assert explain(raised_from(RuntimeError("The task failed."), refused)).retry_after == expected
    throttled = of_botocore(status)
    throttled.response["ResponseMetadata"]["HTTPHeaders"] = {"retry-after": header}
    assert explain(throttled).retry_after == expected


@pytest.mark.parametrize(("late", "bounds"), [(120, (118, 120)), (-120, (0, 0))])
def test_it_may_say_so_as_a_date(late: int, bounds: tuple[int, int]) -> None:
    moment = format_datetime(utcnow() + timedelta(seconds=late), usegmt=True)
    response = httpx.Response(429, request=REQUEST, headers={"Retry-After": moment})
    with pytest.raises(httpx.HTTPStatusError) as raised:
        response.raise_for_status()
    asked_for = explain(raised.value).retry_after
    assert asked_for is not None
    assert bounds[0] <= asked_for.total_seconds() <= bounds[1]


def test_an_answer_that_is_none_may_be_one_the_next_time() -> None:
    response = httpx.Response(200, request=REQUEST)
    failure = explain(openai.APIResponseValidationError(response=response, body=None))
    assert failure.retryable
    assert "no answer that can be read" in failure.message


# ---- chains


@pytest.mark.parametrize("chained", [raised_from, raised_while_handling], ids=["cause", "context"])
@pytest.mark.parametrize(
    ("inner", "passes"),
    [(of_openai(503), True), (TimeoutError(), True), (of_openai(401), False), (ValueError("inner"), False)],
    ids=["503", "timeout", "401", "no reason to wait"],
)
def test_crewais_wrapping_hides_nothing(chained: Any, inner: Exception, passes: bool) -> None:
    outer = chained(RuntimeError("The task failed."), chained(ValueError("The agent failed."), inner))
    assert may_pass(outer) is passes
    told = "RuntimeError" if isinstance(inner, ValueError) else type(inner).__name__
    assert explain(outer).type == told


def test_the_outermost_error_that_says_anything_decides() -> None:
    assert not may_pass(raised_from(of_openai(400), of_openai(503)))
    assert may_pass(raised_from(of_openai(503), of_openai(400)))
    assert explain(raised_from(InvalidCrew("The crew is wrong."), TimeoutError())).type == "invalid_crew"


def test_a_cause_that_is_named_counts_and_not_what_was_being_handled() -> None:
    assert not may_pass(raised_while_handling(raised_from(RuntimeError(), ValueError("the cause")), TimeoutError()))


def test_causes_that_go_round_in_a_circle_come_to_an_end() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert explain(one).type == "ValueError"
    two.__context__ = TimeoutError()
    assert not may_pass(one)  # its cause counts


# ---- our own errors, and CrewAI's exit


@pytest.mark.parametrize("kind", [BudgetExceeded, InvalidCrew, Unavailable])
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_of_ours_says_itself_what_it_is_and_what_to_do(kind: type[CrewrelayError], wrapped: bool) -> None:
    error = kind("The reason.")
    failure = explain(raised_from(RuntimeError("The crew failed."), error) if wrapped else error)
    assert failure.type == kind.code
    assert failure.message == f"The reason. {kind.remedy}"
    assert failure.retryable is kind.retryable


def test_crewais_exit_is_a_conversation_that_is_too_long() -> None:
    assert "context window" in explain(SystemExit("Context length exceeded")).message
    refused = raised_while_handling(SystemExit("Context length exceeded"), of_openai(400))
    assert "too long" in explain(refused).message
    assert not may_pass(refused)
