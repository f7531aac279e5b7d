"""API Gateway's question who is calling, and the answer to it: a policy and what the functions are to know.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
"""

from typing import Any

from crewrelay.jobs.access import Token, Tokens, bearer
from crewrelay.jobs.ports import Clock


class Authorizer:
    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        """A REQUEST event's answer. Raises Exception("Unauthorized"), which is how API Gateway is told to answer 401;
        any other error, such as Unavailable, it answers as a fault of the service, and asks again next time.
        """
        token = bearer(self._tokens, _authorization(event), self._clock())
        if token is None:
            raise Exception("Unauthorized")
        return _allowed(token, event["methodArn"])


def _authorization(event: dict[str, Any]) -> str:
    """The one Authorization header, whatever its case; of several none is to be believed. The developer guide's example
    has `headers` alone, which has the last of several.
    """
    headers = event.get("multiValueHeaders") or {name: [value] for name, value in (event.get("headers") or {}).items()}
    values = [value for name, found in headers.items() if name.lower() == "authorization" for value in found]
    return values[0] if len(values) == 1 else ""


def _allowed(token: Token, method_arn: str) -> dict[str, Any]:
    """For the whole stage: API Gateway keeps the answer for the token's next call, whatever that asks for."""
    api, stage = method_arn.split("/")[:2]
    return {
        "principalId": token.id,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{api}/{stage}/*/*"}],
        },
        "context": {"tenant": token.tenant, "scopes": " ".join(sorted(token.scopes)), "token": token.id},
    }
