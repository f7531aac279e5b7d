"""Events as AWS hands them to functions, and the text of what is answered."""

import base64
import json
import time
from typing import Any
from uuid import uuid4

from crewrelay.events.records import Record
from tests.support.http_apps import REQUEST

Event = dict[str, Any]

HOST = "1234567890.execute-api.us-east-1.amazonaws.com"
STAGE = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/prod"


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


def request_event(*authorization: str, header: str = "Authorization") -> dict[str, Any]:
    """A REST API's event of type REQUEST, as the developer guide shows it."""
    return {
        "type": "REQUEST",
        "methodArn": f"{STAGE}/GET/crewai/status/an-id",
        "resource": "/crewai/status/{job_id}",
        "path": "/crewai/status/an-id",
        "httpMethod": "GET",
        "headers": {"X-AMZ-Date": "20170718T062915Z", **({header: authorization[-1]} if authorization else {})},
        "multiValueHeaders": {"X-AMZ-Date": ["20170718T062915Z"], header: list(authorization)},
        "queryStringParameters": {},
        "pathParameters": {"job_id": "an-id"},
        "stageVariables": {},
        "requestContext": {"path": "/prod/crewai/status/an-id", "accountId": "123456789012", "stage": "prod"},
    }


def sqs_record(body: str, message_id: str | None = None) -> Record:
    """As AWS hands it over: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html."""
    return {
        "messageId": message_id or str(uuid4()),
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:jobs",
        "awsRegion": "us-east-1",
    }


def sqs_event(*records: Record) -> dict[str, Any]:
    return {"Records": list(records)}
