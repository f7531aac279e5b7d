"""What a job costs of AWS: the operations that it takes, counted, and asserted so that a change that adds one is seen.

docs/scale.md does its sums with these figures.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crewrelay.aws.batches import DynamoBatches
from crewrelay.aws.queue import SqsQueue
from crewrelay.aws.signing import DynamoSigningSecrets
from crewrelay.aws.tokens import DynamoTokens
from crewrelay.aws.uploads import UploadBells
from crewrelay.events.authorizer import Authorizer
from crewrelay.jobs.access import Scope, issue
from crewrelay.jobs.batches.uploads import ring_for_due
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer, Passage, Source
from crewrelay.jobs.records.batch import subject_id
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.sweeper import Sweeper
from crewrelay.jobs.webhooks.signing import secret_of
from crewrelay.retrieval.chunks import corpus_chunks
from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS
from crewrelay.system import utcnow
from tests.support.aws import aws_client
from tests.support.aws_events import request_event
from tests.support.bill import Bill
from tests.support.fixtures import Figure, Storage
from tests.support.http_apps import (
    POLICY,
    REQUEST,
    ScriptedCrew,
    api_app,
    deliveries_of,
    execution_of,
    notifier_of,
    run_app,
    uploads_of,
)
from tests.support.processes import ROOT
from tests.support.uploads import line

# Per step: requests, read units, write units.
EXPECTED: dict[str, tuple[dict[str, int], float, float]] = {
    "authorize": ({"dynamodb:GetItem": 1}, 1, 0),
    "submit": ({"dynamodb:PutItem": 2, "dynamodb:Query": 4, "sqs:SendMessage": 1}, 2, 5),
    "run": ({"dynamodb:BatchGetItem": 1, "dynamodb:PutItem": 7, "dynamodb:UpdateItem": 8}, 2, 41),
    "status": ({"dynamodb:BatchGetItem": 2}, 4, 0),
    "run inline": (
        {"dynamodb:BatchGetItem": 3, "dynamodb:PutItem": 9, "dynamodb:Query": 4, "dynamodb:UpdateItem": 8},
        8,
        46,
    ),
    "run inline, its answer 600 KB": (
        {
            "dynamodb:BatchGetItem": 3,
            "dynamodb:PutItem": 9,
            "dynamodb:Query": 4,
            "dynamodb:UpdateItem": 8,
            "s3:GetObject": 1,
            "s3:PutObject": 1,
        },
        7,
        41,
    ),
    "list of 3 jobs": ({"dynamodb:BatchGetItem": 2, "dynamodb:Query": 8}, 10, 0),
    "submit, with a webhook": ({"dynamodb:PutItem": 3, "dynamodb:Query": 4, "sqs:SendMessage": 2}, 2, 7),
    "deliver to the webhook": (
        {"dynamodb:BatchGetItem": 2, "dynamodb:GetItem": 1, "dynamodb:PutItem": 2, "dynamodb:Query": 1},
        6,
        6,
    ),
    "look for due webhooks, of which there are none": ({"dynamodb:Query": 8, "sqs:GetQueueAttributes": 1}, 4, 0),
    "sweep of nothing": ({"dynamodb:Query": 25, "sqs:GetQueueAttributes": 1}, 12.5, 0),
    "create a batch of a file": ({"dynamodb:PutItem": 1, "dynamodb:Query": 1}, 0.5, 3),
    "start it": (
        {"dynamodb:GetItem": 1, "dynamodb:PutItem": 1, "dynamodb:Query": 2, "s3:PutObject": 1, "sqs:SendMessage": 1},
        3,
        3,
    ),
    "its 10 lines become jobs": (
        {
            "dynamodb:BatchGetItem": 1,
            "dynamodb:GetItem": 1,
            "dynamodb:PutItem": 26,
            "dynamodb:Query": 6,
            "s3:DeleteObject": 1,
            "s3:GetObject": 2,
            "s3:HeadObject": 1,
            "sqs:SendMessage": 10,
        },
        15,
        66,
    ),
    "create a batch of a file, with a webhook": (
        {"dynamodb:PutItem": 2, "dynamodb:Query": 1, "sqs:SendMessage": 1},
        0.5,
        5,
    ),
    "look whether it has ended": (
        {"dynamodb:GetItem": 1, "dynamodb:PutItem": 1, "dynamodb:Query": 1, "sqs:SendMessage": 1},
        2,
        3,
    ),
    "deliver its end": (
        {
            "dynamodb:BatchGetItem": 1,
            "dynamodb:GetItem": 3,
            "dynamodb:PutItem": 2,
            "dynamodb:Query": 5,
            "dynamodb:UpdateItem": 1,
        },
        18,
        6,
    ),
    "its counts": ({"dynamodb:BatchGetItem": 1, "dynamodb:GetItem": 1, "dynamodb:Query": 2}, 13, 0),
}

TOLD = REQUEST | {"webhook_url": "https://example.org/hook", "webhook_events": ["submitted", "completed"]}

HOOKED = "/crewai/batches?webhook_url=https://example.org/hook"

PASSAGES = [
    Passage(id=one.id, title=one.title, url=one.url, text=one.passage, excerpt=one.text)
    for one in corpus_chunks(SHIPPED_CORPUS)[::160][:5]
]
TEXT = PASSAGES[0].text


class PayingCrew(ScriptedCrew):
    """Asks a model three times and searches once, as the crew that ships does, for texts of its lengths; its answer
    may be longer.
    """

    def __init__(self, answer: str = TEXT[:1_500]) -> None:
        super().__init__()
        self._answer = answer

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        def model(number: int, length: int) -> None:
            reply = Reply(body=TEXT[:length], model="openai/gpt-4o-mini", prompt_tokens=3_000, completion_tokens=300)
            calls.call(Kind.MODEL, {"number": number}, lambda: reply)

        calls.begin_task("research_task", "Researcher", 1, 2)
        model(1, 100)
        found = "[" + ",".join(passage.model_dump_json() for passage in PASSAGES) + "]"
        calls.call(Kind.RETRIEVAL, {"query": "it"}, lambda: Reply(body=found))
        model(2, 1_500)
        calls.end_task()
        calls.begin_task("writing_task", "Writer", 2, 2)
        model(3, 1_500)
        calls.end_task()
        cited = [passage.model_dump(include={"id", "title", "url", "text", "excerpt"}) for passage in PASSAGES]
        sources = tuple(Source(number=number, **passage) for number, passage in enumerate(cited, 1))
        return Answer(text=self._answer, sources=sources, usage=calls.usage())


@pytest.fixture
def bill(storage: Storage, emulator: str) -> Bill:
    return Bill(storage, aws_client("dynamodb", emulator))


def test_what_a_job_takes(storage: Storage, bill: Bill, figure: Figure) -> None:
    api, inline = TestClient(api_app(storage)), TestClient(run_app(storage, PayingCrew()))
    large = TestClient(run_app(storage, PayingCrew(os.urandom(300_000).hex())))
    execution = execution_of(storage, PayingCrew())
    tokens, now = DynamoTokens(storage.dynamodb, storage.table, utcnow), utcnow()
    token, _ = issue(tokens, "acme", frozenset(Scope), now, now + timedelta(hours=1), os.urandom)
    sweeper = Sweeper(storage.store(utcnow), SqsQueue(storage.sqs, storage.queue_url), utcnow, POLICY)
    job_ids, files = list[str](), list[dict[str, Any]]()
    batches = DynamoBatches(storage.dynamodb, storage.table, utcnow)
    bells = UploadBells(SqsQueue(storage.sqs, storage.intake_queue_url))
    soon = now + timedelta(seconds=900)
    with_webhook: list[str] = []
    notifier, later = notifier_of(storage), notifier_of(storage, lambda: utcnow() + timedelta(seconds=30))
    secret_of(DynamoSigningSecrets(storage.dynamodb, storage.table), "local", now, os.urandom)
    other = TestClient(api_app(storage))

    def deliver() -> None:
        notifier.notify(with_webhook[0], soon)

    steps: dict[str, Callable[[], Any]] = {
        "authorize": lambda: Authorizer(tokens, utcnow).answer(request_event(f"Bearer {token}")),
        "submit": lambda: job_ids.append(api.post("/crewai/run/async", json=REQUEST).json()["job_id"]),
        "run": lambda: execution.run(job_ids[0], soon, first_call_is_free=True),
        "status": lambda: api.get(f"/crewai/status/{job_ids[0]}").raise_for_status(),
        "run inline": lambda: inline.post("/crewai/run", json=REQUEST).raise_for_status(),
        "run inline, its answer 600 KB": lambda: large.post("/crewai/run", json=REQUEST).raise_for_status(),
        "list of 3 jobs": lambda: api.get("/crewai/jobs").raise_for_status(),
        "submit, with a webhook": lambda: with_webhook.append(
            other.post("/crewai/run/async", json=TOLD).json()["job_id"]
        ),
        "deliver to the webhook": deliver,
        "look for due webhooks, of which there are none": lambda: deliveries_of(storage).ring_for_due(soon),
        "sweep of nothing": lambda: (ring_for_due(batches, bells, utcnow()), sweeper.sweep(soon)),
        "create a batch of a file": lambda: files.append(api.post("/crewai/batches").json()),
        "start it": lambda: start(storage, api, files[0]),
        "its 10 lines become jobs": lambda: uploads_of(storage).answer(files[0]["batch_id"], soon),
        "create a batch of a file, with a webhook": lambda: files.append(api.post(HOOKED).json()),
        "look whether it has ended": lambda: later.notify(subject_id(files[1]["batch_id"]), soon),
        "deliver its end": lambda: notifier.notify(subject_id(files[1]["batch_id"]), soon),
        "its counts": lambda: api.get(files[0]["batch_url"]).raise_for_status(),
    }
    found = dict[str, tuple[dict[str, int], float, float]]()
    for name, step in steps.items():
        if name == "deliver its end":
            cancelled(storage, api, files[1])
        found[name] = bill.of(step)
    for name, (requests, reads, writes) in found.items():
        told = ", ".join(f"{count} {request}" for request, count in sorted(requests.items()))
        figure(f"{name}: {reads:g} read units, {writes:g} write units; {told}")
    assert found == EXPECTED


def cancelled(storage: Storage, api: TestClient, batch: dict[str, Any]) -> None:
    """Ten jobs that have ended."""
    start(storage, api, batch)
    uploads, soon = uploads_of(storage), utcnow() + timedelta(seconds=900)
    uploads.answer(batch["batch_id"], soon)
    api.post(f"{batch['batch_url']}/cancel").raise_for_status()
    uploads.answer(batch["batch_id"], soon)


def start(storage: Storage, api: TestClient, batch: dict[str, Any]) -> None:
    lines = b"\n".join(line(f"n{number}") for number in range(10))
    storage.s3.put_object(Bucket=storage.bucket, Key=f"uploads/{batch['batch_id']}.jsonl", Body=lines)
    api.post(batch["start_url"]).raise_for_status()


def test_the_page_on_scale_has_these_figures() -> None:
    page = (ROOT / "docs/scale.md").read_text()
    for name, (requests, reads, writes) in EXPECTED.items():
        others = sum(count for request, count in requests.items() if not request.startswith("dynamodb:"))
        assert f"| {name} | {reads:g} | {writes:g} | {others} |" in page, name
