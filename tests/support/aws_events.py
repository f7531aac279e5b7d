"""Events as AWS hands them to functions, and the text of what is answered."""

import base64
import json
import time
from typing import Any

from tests.support.http_apps import REQUEST

Event = dict[str, Any]

HOST = "1234567890.execute-api.us-east-1.amazonaws.com"


def rest_event(
    method: str,
    path: str,
    body: str | None = None,
    *,
    resource: str = "/{proxy+}",
    sent_path: str | None = None,
    received_path: str | None = None,
    age: float = 0,
    base64_body: bool = False,
) -> Event:
    """A REST API's proxy event, as `sam local generate-event apigateway aws-proxy` shapes it.

    `sent_path` is what the client sent (with the stage), `received_path` what API Gateway makes of it for us;
    `age` is how many seconds ago it came.
    """
    headers = {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "Host": HOST,
        "X-Forwarded-For": "127.0.0.1, 127.0.0.2",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    return {
        "resource": resource,
        "path": received_path or path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path.removeprefix("/")} if resource == "/{proxy+}" else None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "1234567890",
            "domainName": HOST,
            "extendedRequestId": "JKJaXmPLvHcESHA=",
            "httpMethod": method,
            "identity": {"sourceIp": "127.0.0.1", "userAgent": "test", "accessKey": None},
            "path": sent_path or f"/prod{path}",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "requestTime": "09/Apr/2015:12:34:56 +0000",
            "requestTimeEpoch": int((time.time() - age) * 1000),
            "resourceId": "123456",
            "resourcePath": resource,
            "stage": "prod",
        },
        "body": base64.b64encode(body.encode()).decode() if body and base64_body else body,
        "isBase64Encoded": base64_body,
    }


def submission(**options: Any) -> Event:
    return rest_event("POST", "/crewai/run/async", json.dumps(REQUEST), **options)


def text_of(answer: dict[str, Any]) -> str:
    assert answer["isBase64Encoded"] is False
    text: str = answer["body"]
    return text
