"""Middleware of the AWS emulator: accepts only requests signed with its credentials, and none from browsers.

Checks the signature, because the access key id alone is visible in every presigned URL.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

import hmac
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import botocore.credentials
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest

from crewrelay.local.credentials import Credentials
from crewrelay.local.loopback import leads_here
from crewrelay.local.posted import is_form, refusal_of_form

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_DIGEST = "x-amz-content-sha256"  # the body's digest
_SKEW = 15 * 60  # seconds of clock skew that AWS allows
_BARE = ("CONTENT_TYPE", "CONTENT_LENGTH")  # headers that WSGI stores without the prefix HTTP_
_PART = re.compile(r"\b(\w{1,32})=([^,\s]+)")


class SignedOnly:
    """`host` is accepted as Host header in addition to loopback names."""

    def __init__(self, app: "WSGIApplication", credentials: Credentials, host: str) -> None:
        self._app = app
        self._credentials = credentials
        self._host = host

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if refusal := self._refusal(environ):
            return _refused(refusal, environ, start_response)
        return self._app(environ, start_response)

    def _refusal(self, environ: "WSGIEnvironment") -> str:
        if "HTTP_ORIGIN" in environ or "HTTP_SEC_FETCH_SITE" in environ:
            return "Requests from browsers are refused."
        if not leads_here(environ.get("HTTP_HOST", ""), self._host):
            return "Use the address that the stack printed at its start."
        if environ["PATH_INFO"].startswith("/moto-api"):  # moto's admin API shows and resets everything
            return "This is not part of AWS."
        if is_form(environ) and "HTTP_AUTHORIZATION" not in environ:
            return refusal_of_form(environ, self._credentials, datetime.now(UTC))
        signature = _Signature.of(environ)
        if signature is None or not signature.is_current(datetime.now(UTC)):
            return "Sign the request: it has no signature or an expired one."
        if not signature.is_by(self._credentials, environ):
            return "Sign with the credentials of this stack, in the file that it printed at its start."
        return ""


class _Signature(NamedTuple):
    signer: Any  # a signer class of botocore
    credential: str
    signed_headers: str
    timestamp: str
    seconds: int  # of validity
    query: str  # the signed part
    value: str

    @classmethod
    def of(cls, environ: "WSGIEnvironment") -> "_Signature | None":
        """Parse the signature from the header or a presigned URL; None if there is none."""
        query = environ.get("QUERY_STRING", "")
        if header := environ.get("HTTP_AUTHORIZATION"):
            found = dict(_PART.findall(header))
            found["Date"], found["Expires"] = environ.get("HTTP_X_AMZ_DATE", ""), str(_SKEW)
            signer = S3SigV4Auth if "/s3/" in found.get("Credential", "") else SigV4Auth
        else:
            found = {name.removeprefix("X-Amz-"): value for name, value in parse_qsl(query)}
            query = "&".join(part for part in query.split("&") if not part.startswith("X-Amz-Signature="))
            signer = S3SigV4QueryAuth
        try:
            credential, headers, date, value = (found[n] for n in ("Credential", "SignedHeaders", "Date", "Signature"))
            return cls(signer, credential, headers, date, int(found["Expires"]), query, value)
        except (KeyError, ValueError):
            return None

    def is_current(self, now: datetime) -> bool:
        try:
            made = datetime.strptime(self.timestamp, "%Y%m%dT%H%M%S%z")
        except ValueError:
            return False
        return -_SKEW <= (now - made).total_seconds() <= self.seconds

    def is_by(self, credentials: Credentials, environ: "WSGIEnvironment") -> bool:
        """Whether the request was signed with these credentials: recomputes the signature."""
        access_key_id, *scope = self.credential.split("/")
        if access_key_id != credentials.access_key_id or len(scope) != 4:
            return False
        _, region, service, _ = scope
        path = environ["REQUEST_URI"].partition("?")[0]  # as sent, not decoded
        request = AWSRequest(
            environ["REQUEST_METHOD"],
            f"http://{environ['HTTP_HOST']}{path}?{self.query}",
            {name: _header(name, environ) for name in self.signed_headers.split(";")},
            b"" if _DIGEST in self.signed_headers.split(";") else _body(environ),
        )
        request.context["timestamp"] = self.timestamp
        signer = self.signer(botocore.credentials.Credentials(*credentials), service, region)
        own: str = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        return hmac.compare_digest(own.encode(), self.value.encode())


def _header(name: str, environ: "WSGIEnvironment") -> str:
    variable = name.upper().replace("-", "_")
    return str(environ.get(variable if variable in _BARE else f"HTTP_{variable}", ""))


def _body(environ: "WSGIEnvironment") -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    return body


def _refused(reason: str, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """A 403 in the format that the client expects: JSON for DynamoDB and SQS, XML for the others."""
    code = "UnrecognizedClientException"
    if "HTTP_X_AMZ_TARGET" in environ:
        form, body = "application/x-amz-json-1.0", json.dumps({"__type": code, "message": reason})
    else:
        error = f"<Error><Code>{code}</Code><Message>{reason}</Message></Error>"
        form, body = "text/xml", f"<ErrorResponse>{error}</ErrorResponse>"
    start_response("403 Forbidden", [("Content-Type", form), ("Content-Length", str(len(body)))])
    return [body.encode()]
