"""Forms by which files are sent to the emulator's S3: it must have signed their policy, and they must keep to it.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

import base64
import hmac
import json
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import botocore.credentials
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from crewrelay.local.credentials import Credentials

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def is_form(environ: "WSGIEnvironment") -> bool:
    content_type = str(environ.get("CONTENT_TYPE", ""))
    return environ["REQUEST_METHOD"] == "POST" and content_type.startswith("multipart/form-data")


def refusal_of_form(environ: "WSGIEnvironment", credentials: Credentials, now: datetime) -> str:
    """Why the form in the body is refused; empty if it is not."""
    from werkzeug.formparser import parse_form_data

    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    _, form, files = parse_form_data(environ | {"wsgi.input": BytesIO(body)})
    environ["wsgi.input"] = BytesIO(body)
    fields = {name.lower(): value for name, value in form.items()}
    if not _is_signed(fields, credentials):
        return "Sign the form's policy with the credentials of this stack."
    policy = json.loads(base64.b64decode(fields["policy"]))
    if now >= datetime.strptime(policy["expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC):
        return "The form has expired."
    size = len(files["file"].read()) if "file" in files else 0
    sent = fields | {"bucket": environ["PATH_INFO"].strip("/")}
    wrong = [condition for condition in policy["conditions"] if not _holds(condition, sent, size)]
    return f"The form breaks its policy: {json.dumps(wrong[0])}." if wrong else ""


def _is_signed(fields: dict[str, str], credentials: Credentials) -> bool:
    access_key_id, *scope = fields.get("x-amz-credential", "").split("/")
    if access_key_id != credentials.access_key_id or len(scope) != 4 or "policy" not in fields:
        return False
    request = AWSRequest()
    request.context["timestamp"] = scope[0]  # the signature has the day of it
    signer = S3SigV4Auth(botocore.credentials.Credentials(*credentials), "s3", scope[1])
    own: str = signer.signature(fields["policy"], request)
    return hmac.compare_digest(own.encode(), fields.get("x-amz-signature", "").encode())


def _holds(condition: Any, sent: dict[str, str], size: int) -> bool:
    match condition:
        case ["content-length-range", int(least), int(most)]:
            return least <= size <= most
        case dict():
            return all(sent.get(name.lower()) == value for name, value in condition.items())
    return False  # a kind that this stack makes no use of
