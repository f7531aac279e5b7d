"""Lambda authorizer: bearer token to tenant and IAM policy.

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
        """The response to a REQUEST event. Raises Exception("Unauthorized"), which API Gateway turns into a 401; any
        other error, such as Unavailable, becomes a 500 and is not cached.
        """
        token = bearer(self._tokens, _authorization(event), self._clock())
        if token is None:
            raise Exception("Unauthorized")
        return _allowed(token, event["methodArn"])


def _authorization(event: dict[str, Any]) -> str:
    """The Authorization header, in any case; "" if there are several. The sample event of the developer guide has only
    `headers`, which holds the last of several.
    """
    headers = event.get("multiValueHeaders") or {name: [value] for name, value in (event.get("headers") or {}).items()}
    values = [value for name, found in headers.items() if name.lower() == "authorization" for value in found]
    return values[0] if len(values) == 1 else ""


def _allowed(token: Token, method_arn: str) -> dict[str, Any]:
    """Allows the whole stage, because API Gateway caches the policy for the token's later calls to any path."""
    api, stage = method_arn.split("/")[:2]
    collections = {"collections": " ".join(token.collections)} if token.collections else {}
    return {
        "principalId": token.id,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{api}/{stage}/*/*"}],
        },
        "context": {"tenant": token.tenant, "scopes": " ".join(sorted(token.scopes)), "token": token.id} | collections,
    }
