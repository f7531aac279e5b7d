"""API keys from Secrets Manager, fetched once per process, so that they are in no function's configuration."""

import json
from functools import cache
from typing import Any

from crewrelay.aws.clients import secrets_manager, unavailable_if_it_fails
from crewrelay.jobs.errors import Misconfigured

_FIELD = "api_key"


@cache
def secret(arn: str) -> str:
    """The secret's text, or its field `api_key` if it is a JSON object. Raises Misconfigured, Unavailable."""
    client: Any = secrets_manager()
    with unavailable_if_it_fails(f"secret {arn}", refused=Misconfigured):
        text = client.get_secret_value(SecretId=arn).get("SecretString", "")
    key = _of_object(text).strip()
    if not key:
        raise Misconfigured(f"The secret {arn} must be a key, or a JSON object with the key in its field {_FIELD}.")
    return key


def _of_object(text: str) -> str:
    try:
        held = json.loads(text)
    except ValueError:
        return text
    if not isinstance(held, dict):
        return text  # a key may be all digits
    key = held.get(_FIELD)
    return key if isinstance(key, str) else ""
