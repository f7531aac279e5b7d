"""Translates errors of the Weaviate client to RetrievalErrors."""

import re
from collections.abc import Iterator

import httpx
from grpc import StatusCode
from grpc.aio import AioRpcError
from weaviate.exceptions import (
    AuthenticationFailedError,
    ResponseCannotBeDecodedError,
    UnexpectedStatusCodeError,
    WeaviateClosedClientError,
    WeaviateConnectionError,
    WeaviateGRPCUnavailableError,
    WeaviateStartUpError,
    WeaviateTimeoutError,
)

from crewrelay.jobs.errors import (
    CollectionMissing,
    EmbedderMismatch,
    RetrievalError,
    RetrievalMisconfigured,
    RetrievalUnauthorised,
    RetrievalUnavailable,
)

_LOST = (
    TimeoutError,
    WeaviateClosedClientError,
    WeaviateConnectionError,
    WeaviateGRPCUnavailableError,
    WeaviateTimeoutError,
    httpx.TransportError,
)
_GRPC = {
    StatusCode.UNAUTHENTICATED: RetrievalUnauthorised,
    StatusCode.PERMISSION_DENIED: RetrievalUnauthorised,
    StatusCode.UNAVAILABLE: RetrievalUnavailable,
    StatusCode.DEADLINE_EXCEEDED: RetrievalUnavailable,
    StatusCode.CANCELLED: RetrievalUnavailable,
    StatusCode.RESOURCE_EXHAUSTED: RetrievalUnavailable,
    StatusCode.UNIMPLEMENTED: RetrievalMisconfigured,
}
# Only a server says so that is starting, or that has lost another one of its cluster.
_STARTING = re.compile(
    r"non-existing index|no read replica found|could not find index for class|resolve node name", re.IGNORECASE
)
_NO_CLASS = re.compile(
    r"could not find class|^(?:(?!class ).)*+class .*(?:not found|not present|does not exist)",
    re.IGNORECASE | re.MULTILINE,
)
_FORBIDDEN = re.compile(r"forbidden action|insufficient permissions", re.IGNORECASE)  # also said of single objects
_OTHER_LENGTH = re.compile(r"vector lengths don't match|existing nodes have vectors with length", re.IGNORECASE)
_UNTRUSTED = re.compile(r"certificate[ _]verify[ _]failed", re.IGNORECASE)

# What is said counts before an error's type. The first that matches.
_SAID = [
    (_STARTING, RetrievalUnavailable),
    (_NO_CLASS, CollectionMissing),
    (_FORBIDDEN, RetrievalUnauthorised),
    (_OTHER_LENGTH, EmbedderMismatch),
    (_UNTRUSTED, RetrievalMisconfigured),
]


def translate_error(error: BaseException) -> RetrievalError:
    """The RetrievalError for an error of the client."""
    if isinstance(error, RetrievalError):
        return error
    chain = list(_chain(error))
    kind = next(filter(None, [*map(_kind_said, chain), *map(_kind, chain)]), RetrievalError)
    said = _reason(chain[-1])
    hint = " (SSL_CERT_FILE names the file of the authorities that are trusted)" if _UNTRUSTED.search(said) else ""
    return kind(f"Weaviate: {said}{hint}")


def may_be_starting(error: BaseException) -> bool:
    """Whether a server that has just started may say this of what it has."""
    return type(translate_error(error)) in (CollectionMissing, RetrievalError)


def is_status(error: BaseException, status: int) -> bool:
    """Whether an HTTP request was answered with this status."""
    return isinstance(error, UnexpectedStatusCodeError) and error.status_code == status


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes: the client raises errors with text only, from those with the gRPC status."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _kind_said(error: BaseException) -> type[RetrievalError] | None:
    return next((kind for said, kind in _SAID if said.search(_reason(error))), None)


def _kind(error: BaseException) -> type[RetrievalError] | None:
    if isinstance(error, AioRpcError):
        return _GRPC.get(error.code())
    if isinstance(error, UnexpectedStatusCodeError):
        return _kind_of_status(error.status_code)
    if isinstance(error, AuthenticationFailedError):
        return RetrievalUnauthorised
    if isinstance(error, WeaviateStartUpError) and "not supported" in str(error):
        return RetrievalMisconfigured
    if isinstance(error, ResponseCannotBeDecodedError):
        return RetrievalMisconfigured
    return RetrievalUnavailable if isinstance(error, (*_LOST, WeaviateStartUpError)) else None


def _kind_of_status(status: int) -> type[RetrievalError] | None:
    if status in (401, 403):
        return RetrievalUnauthorised
    if status == 404:
        return RetrievalMisconfigured  # callers that look something up by name handle 404 themselves
    return RetrievalUnavailable if status == 429 or status >= 500 else None


def _reason(error: BaseException) -> str:
    text = error.details() if isinstance(error, AioRpcError) else str(error)
    return (text or type(error).__name__).strip()
