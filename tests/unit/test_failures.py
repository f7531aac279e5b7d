"""What an error of a run means: whether it may pass, and what a person can do about it. The errors are real ones."""

import socket
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from botocore import exceptions as botocore

from crewrelay.crews.models.failures import explain, may_pass
from crewrelay.jobs.errors import BudgetExceeded, CrewrelayError, InvalidCrew, Unavailable
from tests.support.errors import REQUEST, of_botocore, of_httpx, of_openai, raised_from, raised_while_handling

PASSING = [408, 409, 425, 429, 500, 502, 503, 504, 529]
LASTING = [400, 401, 402, 403, 404, 413, 415, 422]


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
