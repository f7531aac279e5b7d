"""Keys that Secrets Manager keeps: fetched once by each process, so that no function's configuration has them."""

import json
from functools import cache
from typing import Any

from crewrelay.aws.clients import secrets_manager, unavailable_if_it_fails
from crewrelay.jobs.errors import Misconfigured

_FIELD = "api_key"


@cache
def secret(arn: str) -> str:
    """The secret as it stands, or the field `api_key` of a JSON object. Raises Misconfigured, Unavailable."""
    client: Any = secrets_manager()
    with unavailable_if_it_fails(f"secret {arn}", refused=Misconfigured):
        text = client.get_secret_value(SecretId=arn).get("SecretString", "")
    key = _of_object(text).strip()
    if not key:
        raise Misconfigured(f"The secret {arn} is to be a key, or a JSON object with the key as its field {_FIELD}.")
    return key


def _of_object(text: str) -> str:
    try:
        held = json.loads(text)
    except ValueError:
        return text
    if not isinstance(held, dict):
        return text  # a key may well be a number
    key = held.get(_FIELD)
    return key if isinstance(key, str) else ""
