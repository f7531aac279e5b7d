"""Keys and variables from Secrets Manager, fetched once per process, so that no function's configuration has them."""

import json
from functools import cache
from typing import Any

from crewrelay.aws.clients import secrets_manager, unavailable_if_it_fails
from crewrelay.jobs.errors import Misconfigured

_FIELD = "api_key"


@cache
def secret(arn: str) -> str:
    """The secret's text, or its field `api_key` if it is a JSON object. Raises Misconfigured, Unavailable."""
    key = _of_object(_text(arn)).strip()
    if not key:
        raise Misconfigured(f"The secret {arn} must be a key, or a JSON object with the key in its field {_FIELD}.")
    return key


@cache
def variables(arn: str) -> dict[str, str]:
    """The fields of the secret, a JSON object of texts. Raises Misconfigured, Unavailable."""
    try:
        held = json.loads(_text(arn))
    except ValueError:
        held = None
    if not isinstance(held, dict) or not all(isinstance(value, str) and "\0" not in value for value in held.values()):
        raise Misconfigured(f"The secret {arn} must be a JSON object with a text for each variable's name.")
    return held


def _text(arn: str) -> str:
    client: Any = secrets_manager()
    with unavailable_if_it_fails(f"secret {arn}", refused=Misconfigured):
        text: str = client.get_secret_value(SecretId=arn).get("SecretString", "")
    return text


def _of_object(text: str) -> str:
    try:
        held = json.loads(text)
    except ValueError:
        return text
    if not isinstance(held, dict):
        return text  # a key may be all digits
    key = held.get(_FIELD)
    return key if isinstance(key, str) else ""
