"""Errors as the clients of models raise them, and chains of errors."""

import httpx
import openai
import pytest
from botocore import exceptions as botocore

REQUEST = httpx.Request("POST", "https://models.example/v1/chat/completions")


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
