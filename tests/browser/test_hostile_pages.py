"""A hostile page, open in a real browser on the machine, neither reads nor changes anything of the local stack."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.browser.chromium import PROGRAM as CHROMIUM
from tests.browser.hostile_site import HOME, REBOUND, Browser, browser
from tests.support.stack import RunningStack, running_stack

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here: `make browser` says how to have it"
)

# As boto3 would ask, with keys that anybody may guess.
_SIGNED = """
const signed = (service, action, body) => fetch(given.aws, {method: "POST", body: JSON.stringify(body), headers: {
  "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": action,
  "Authorization": `AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/${service}/aws4_request, ` +
    "SignedHeaders=host, Signature=0"}}).then(read);
const row = {pk: {S: "TOKEN#0"}, sk: {S: "TOKEN"}};
"""
_SEND = '{Action: "SendMessage", QueueUrl: given.queue, MessageBody: "{}"}'

ON_AWS = {
    "list the queues": _SIGNED + 'return await signed("sqs", "AmazonSQS.ListQueues", {});',
    "read the table": _SIGNED + 'return await signed("dynamodb", "DynamoDB_20120810.Scan", {TableName: given.table});',
    "write a row": _SIGNED
    + 'return await signed("dynamodb", "DynamoDB_20120810.PutItem", {TableName: given.table, Item: row});',
    "send a message": _SIGNED
    + 'return await signed("sqs", "AmazonSQS.SendMessage", {QueueUrl: given.queue, MessageBody: "{}"});',
    "send a message, unread": 'await fetch(given.queue, {method: "POST", mode: "no-cors", '
    f"body: new URLSearchParams({_SEND})}}); return '';",
    "send a message by a form": f"return await submit(given.queue, {_SEND});",
    "list the buckets": "return await fetch(given.aws).then(read);",
    "fill the bucket by a form": "return await submit(given.bucket, "
    '{key: "x", success_action_status: "201", file: "x"}, "multipart/form-data");',
    "read by a WebSocket": 'return await opened(given.aws.replace("http", "ws"));',
    "read the emulator": 'return await fetch(given.aws + "/moto-api/data.json").then(read);',
    "wipe it by a form": 'return await submit(given.aws + "/moto-api/reset", {});',  # the last one, should it do that
}
OF_THE_API = {
    "read the crews": 'return await fetch(given.api + "/crewai/crews").then(read);',
    "submit a job": 'return await fetch(given.api + "/crewai/run/async", {method: "POST", '
    'headers: {"Content-Type": "application/json"}, body: JSON.stringify(given.example)}).then(read);',
    "submit a job by a form": 'return await submit(given.api + "/crewai/run/async", given.example);',
    "run a job, unread": 'await fetch(given.api + "/crewai/run", {method: "POST", mode: "no-cors", '
    'body: JSON.stringify(given.example)}); return "";',
}
ATTACKS = OF_THE_API | ON_AWS
UNREAD = "IntakeDeadLetterQueue"  # nobody polls it
EXAMPLE = {"topic": "neural networks", "language": "en"}


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with running_stack(1, "--aws") as stack:
        stack.client.post("/crewai/run", json=EXAMPLE).raise_for_status()
        yield stack


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM
    with browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


def everything(stack: RunningStack) -> Any:
    """What a page could change."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = stack.aws("sqs").get_queue_attributes(QueueUrl=stack.resource(UNREAD), AttributeNames=names)["Attributes"]
    rows = stack.aws("dynamodb").scan(TableName=stack.resource("JobsTable"))["Items"]
    objects = stack.aws("s3").list_objects_v2(Bucket=stack.resource("BodiesBucket"))["KeyCount"]
    return counts, sorted(rows, key=str), objects


def attacked(stack: RunningStack, chromium: Browser, attack: str, aws: str, api: str, at: str = HOME) -> None:
    """A page that knows every address and name of the stack."""
    before = everything(stack)
    given = {
        "aws": aws,
        "api": api,
        "table": stack.resource("JobsTable"),
        "queue": stack.resource(UNREAD).replace(stack.aws_url, aws),
        "bucket": f"{aws}/{stack.resource('BodiesBucket')}",
        "example": EXAMPLE,
    }
    assert chromium.visit(ATTACKS[attack], given, at) == ""
    assert everything(stack) == before


def test_a_page_can_run_what_these_tests_give_it(chromium: Browser) -> None:
    assert chromium.visit("return await fetch('/page').then(read) ? given : '';", [1]) == [1]


@pytest.mark.parametrize("origin", ["elsewhere", "rebound"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_page_gets_nothing(stack: RunningStack, chromium: Browser, attack: str, origin: str) -> None:
    """Nor one whose name now leads to loopback, so that it is of the same origin as what it asks."""
    if origin == "elsewhere":
        return attacked(stack, chromium, attack, stack.aws_url, stack.url)
    aws, api = (f"http://{REBOUND}:{httpx.URL(url).port}" for url in (stack.aws_url, stack.url))
    attacked(stack, chromium, attack, aws, api, f"{aws if attack in ON_AWS else api}/")
