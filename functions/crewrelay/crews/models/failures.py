"""Classifies an error of a run: whether a retry may help, and what a person can do about it.

CrewAI wraps its providers' errors, so the whole chain of causes is read, outermost first.
"""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from crewrelay.jobs.errors import CrewrelayError
from crewrelay.jobs.records.job import Failure
from crewrelay.system import utcnow

_RETRYABLE = frozenset({408, 409, 425, 429})  # and everything from 500 on
_PERMANENT = ("insufficient_quota", "billing_hard_limit_reached")  # codes of a 429
# Class names, for the libraries may not be installed: openai and anthropic, httpx, botocore, azure, requests, urllib3,
# aiohttp, Python itself.
_CONNECTIONS = frozenset(
    """
    APIConnectionError APITimeoutError TransportError HTTPClientError ServiceRequestError ServiceResponseError
    Timeout ChunkedEncodingError ProtocolError NewConnectionError ClientConnectionError ClientPayloadError
    ConnectionError TimeoutError gaierror IncompleteRead IncompleteReadError SSLEOFError SSLZeroReturnError
    """.split()
)
_NETWORK = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH})
_ADVICE = {
    400: "The model refused the request; it may be too long, or the model may lack a feature that the crew uses.",
    401: "The model refused the key: check CREWRELAY_MODEL_API_KEY.",
    402: "The account of the key has no credit left.",
    403: "The key may not use this model: check CREWRELAY_MODEL and CREWRELAY_MODEL_API_KEY.",
    404: "There is no such model: check CREWRELAY_MODEL and CREWRELAY_MODEL_BASE_URL.",
    429: "The model's rate limit was reached.",
}


class ToolUnavailable(Exception):
    """A tool failed in a way that a retry may help. It counts as an attempt: what the tool asks may not exist."""


def explain(error: BaseException, redact: Callable[[str], str] = str) -> Failure:
    """The failure as the job keeps it. `redact` gets the whole message, before it is cut."""
    for cause in causes_of(error):
        if isinstance(cause, CrewrelayError):
            return Failure.of(cause)
        if isinstance(cause, ToolUnavailable) and cause.__cause__:
            return explain(cause.__cause__, redact).model_copy(update={"outage": False})
        status = _status(cause)
        if status is not None and status < 300:
            return _failure(cause, redact, "The model gave no answer that can be read.", retryable=True)
        if status is not None:
            advice = "The quota of the key is used up." if _out_of_quota(cause) else _ADVICE.get(status, "")
            retryable = _is_retryable(cause, status)
            failure = _failure(cause, redact, advice, retryable)
            return failure.model_copy(update={"outage": retryable, "retry_after": _retry_after(cause, utcnow())})
        if _lost_connection(cause):
            failure = _failure(cause, redact, "The model, or what a tool asked, did not answer.", retryable=True)
            return failure.model_copy(update={"outage": True})
    if isinstance(error, SystemExit):
        advice = "CrewAI gave up: the conversation is longer than the model's context window."
        return _failure(error, redact, advice, retryable=False)
    return _failure(error, redact, "", retryable=False)


def may_pass(error: BaseException) -> bool:
    return explain(error).retryable


def is_lost_connection(error: BaseException) -> bool:
    """Whether a connection failed, or no answer came in time."""
    return any(_lost_connection(cause) for cause in causes_of(error))


def _failure(error: BaseException, redact: Callable[[str], str], advice: str, retryable: bool) -> Failure:
    text = " ".join(filter(None, (advice, redact(str(error))))) or "The crew gave no reason."
    return Failure(type=type(error).__name__, message=text, retryable=retryable)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _status(error: BaseException) -> int | None:
    """The HTTP status of the error, which each library keeps in another attribute."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
        status = status or getattr(error, "status", None)  # urllib and aiohttp
    return status if isinstance(status, int) and 100 <= status < 600 else None


def _retry_after(error: BaseException, now: datetime) -> timedelta | None:
    """The Retry-After header: seconds or a date (RFC 9110, 10.2.3)."""
    response: Any = getattr(error, "response", None)
    headers: Mapping[str, str] = getattr(error if response is None else response, "headers", None) or {}
    if isinstance(response, dict):
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    value = headers.get("retry-after", "").strip()
    with suppress(ValueError, OverflowError):
        return max(timedelta(), timedelta(seconds=float(value)))
    with suppress(ValueError, TypeError):  # a date without a time zone
        return max(timedelta(), parsedate_to_datetime(value) - now)
    return None


def _is_retryable(error: BaseException, status: int) -> bool:
    return (status in _RETRYABLE or status >= 500) and not _out_of_quota(error)


def _out_of_quota(error: BaseException) -> bool:
    return str(vars(error).get("code")) in _PERMANENT


def _lost_connection(error: BaseException) -> bool:
    reason = getattr(error, "reason", None)  # the cause in urllib and urllib3
    if isinstance(reason, BaseException) and reason is not error:
        error = reason
    named = not _CONNECTIONS.isdisjoint(base.__name__ for base in type(error).__mro__)
    return named or (isinstance(error, OSError) and error.errno in _NETWORK)
