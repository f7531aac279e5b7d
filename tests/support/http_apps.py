"""The HTTP apps over a test's storage, built as the handlers build them, around a crew that follows a script."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
from botocore.config import Config
from fastapi import FastAPI

from crewrelay.aws.batches import DynamoBatches
from crewrelay.aws.polling import Polling
from crewrelay.aws.queue import SqsQueue
from crewrelay.aws.signing import DynamoSigningSecrets
from crewrelay.aws.subscriptions import DynamoSubscriptions
from crewrelay.aws.uploads import S3Uploads, UploadBells
from crewrelay.catalogue.drafts import read_line
from crewrelay.crews.models.failures import explain
from crewrelay.http.api import create_api
from crewrelay.http.long_poll import LongPoll
from crewrelay.http.protocols.on_demand import PREFIXES
from crewrelay.http.run import InlineRuns, create_run
from crewrelay.http.services import Services
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.batches.counting import Counting
from crewrelay.jobs.batches.ends import BatchSubjects
from crewrelay.jobs.batches.uploads import Uploads
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.ports import Calls, Changes, Clock, Crew
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Source, Usage
from crewrelay.jobs.records.job import Failure, Job, JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import Question
from crewrelay.jobs.records.subscription import Outcome
from crewrelay.jobs.running.execution import Execution
from crewrelay.jobs.submission import Submission
from crewrelay.jobs.webhooks.deliveries import Deliveries
from crewrelay.jobs.webhooks.notifier import Notifier, Post
from crewrelay.outbound.forms import BATCH_FORMS
from crewrelay.system import new_id, utcnow
from crewrelay.wiring.forms import FORMS
from tests.support.doubles.meter import MemoryMeter
from tests.support.fixtures import HandSetClock, Storage

ANSWER = Answer(
    text="A network learns [1].",
    sources=(Source(number=1, id="p1", title="Networks", url="https://example.org/n", text="Networks learn."),),
    answerable=True,
    usage=Usage(model="scripted/one", calls=2, prompt_tokens=20, completion_tokens=5),
)
QUESTION = Question(message="Is it good?", task="writing", output="A draft.", options=("yes", "no"), default="yes")
QUESTION_ID = f"{'e' * 64}#0"
REQUEST = {"topic": "neural networks", "language": "en"}
INPUT = JobInput(crew="research", inputs=REQUEST)

Script = Callable[[JobInput], Answer]

POLICY = Policy()

GRACE = timedelta(seconds=1)


class ScriptedCrew:
    """The domain's Crew port: does what its script says, and keeps what it was given."""

    def __init__(self, script: Script = lambda _: ANSWER) -> None:
        self._script = script
        self.given: list[JobInput] = []

    def fingerprint(self, job_input: JobInput) -> str:
        return "scripted"

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        self.given.append(job_input)
        return self._script(job_input)

    def explain(self, error: BaseException) -> Failure:
        return explain(error)


def anybody(tenant: str) -> Caller:
    """Who callers are where they need no token."""
    return Caller(tenant=tenant, scopes=frozenset(Scope))


LOCAL = anybody("local")


def store_of(storage: Storage, clock: Clock = utcnow) -> ObservedStore:
    return ObservedStore(storage.store(clock), MemoryMeter(), SqsQueue(storage.sqs, storage.notify_queue_url))


def deliveries_of(storage: Storage, clock: Clock = utcnow) -> Deliveries:
    subscriptions = DynamoSubscriptions(storage.dynamodb, storage.table, clock)
    return Deliveries(storage.store(clock), subscriptions, SqsQueue(storage.sqs, storage.notify_queue_url), clock)


def notifier_of(
    storage: Storage, clock: Clock = utcnow, post: Post = lambda url, headers, body: Outcome(204)
) -> Notifier:
    """By default every receiver is content."""
    subscriptions = DynamoSubscriptions(storage.dynamodb, storage.table, clock)
    secrets = DynamoSigningSecrets(storage.dynamodb, storage.table)
    bell = SqsQueue(storage.sqs, storage.notify_queue_url)
    rest = (FORMS, bell, clock, new_id, os.urandom, lambda: 0.0, MemoryMeter())
    store = storage.store(clock)
    counting = Counting(store, DynamoBatches(storage.dynamodb, storage.table, clock))
    batches = BatchSubjects(counting, BATCH_FORMS, clock).of
    return Notifier(store, subscriptions, secrets, post, *rest, batches)


def submission_of(storage: Storage, clock: Clock = utcnow, most_unfinished: int | None = 1000) -> Submission:
    doorbell = SqsQueue(storage.sqs, storage.queue_url)
    return Submission(store_of(storage, clock), doorbell, clock, new_id, POLICY, most_unfinished)


def api_app(
    storage: Storage,
    clock: Clock = utcnow,
    anonymous: Caller | None = LOCAL,
    most_unfinished: int | None = 1000,
    changes: Changes | None = None,
    timeout: float = 27,
) -> FastAPI:
    """`timeout` in seconds, of a caller who waits."""
    store, doorbell = store_of(storage, clock), SqsQueue(storage.sqs, storage.queue_url)
    kept, deliveries = DynamoBatches(storage.dynamodb, storage.table, clock), deliveries_of(storage, clock)
    intervention = Intervention(store, doorbell, clock, POLICY, most_unfinished, kept, deliveries)
    long_poll = LongPoll(changes or Polling(), clock, timedelta(seconds=timeout))
    submission = submission_of(storage, clock, most_unfinished)
    files = S3Uploads(lambda: storage.s3, storage.bucket, clock)
    bells = UploadBells(SqsQueue(storage.sqs, storage.intake_queue_url))
    notices = SqsQueue(storage.sqs, storage.notify_queue_url)
    batches = Batches(store, kept, files, submission, intervention, bells, clock, new_id, POLICY, notices)
    secrets = DynamoSigningSecrets(storage.dynamodb, storage.table)
    services = Services(submission, intervention, store, batches, long_poll, deliveries, secrets)
    return create_api(services, anonymous, PREFIXES)


def uploads_of(storage: Storage, clock: Clock = utcnow, most_unfinished: int | None = 1000) -> Uploads:
    """What the intake function does for uploads."""
    store, doorbell = storage.store(clock), SqsQueue(storage.sqs, storage.queue_url)
    return Uploads(
        store,
        DynamoBatches(storage.dynamodb, storage.table, clock),
        S3Uploads(lambda: storage.s3, storage.bucket, clock),
        submission_of(storage, clock, most_unfinished),
        Intervention(store, doorbell, clock, POLICY),
        UploadBells(SqsQueue(storage.sqs, storage.intake_queue_url)),
        clock,
        POLICY,
        read_line,
        pause=timedelta(seconds=5),
    )


def job_that_is(status: str, storage: Storage, clock: HandSetClock, tenant: str = "local") -> Job:
    """A job as a worker, or whoever cancelled it, left it."""
    store, job = storage.store(clock), submission_of(storage, clock).accept(tenant, INPUT)
    if status in ("pending", "cancelled"):
        ended = transitions.cancel(job, clock.now) if status == "cancelled" else job
        store.save(job, ended)
        return ended
    running = transitions.claim(job, "me", "crew-1", clock.now, Policy())
    store.save(job, running)
    if status == "completed":
        store.put_answer(running, ANSWER)
    failure = Failure(type="no_model", message="The model is gone.")
    store.put_question(running, QUESTION_ID, QUESTION)
    ended = {
        "running": running,
        "waiting": transitions.wait(running, QUESTION_ID, clock.now, clock.now + timedelta(days=7), POLICY),
        "completed": transitions.complete(running, clock.now),
        "failed": transitions.fail(running, failure, clock.now),
    }[status]
    store.save(running, ended)
    return ended


def execution_of(storage: Storage, crew: Crew, clock: Clock = utcnow) -> Execution:
    doorbell = SqsQueue(storage.sqs, storage.queue_url)
    return Execution(storage.store(clock), doorbell, crew, clock, new_id, lambda: 0.5, POLICY)


def run_app(
    storage: Storage,
    crew: Crew,
    *,
    timeout: float = 20,
    anonymous: Caller | None = LOCAL,
    most_unfinished: int | None = 1000,
) -> FastAPI:
    """`timeout` in seconds. On the real clock: the wait for the crew is one."""
    inline = InlineRuns(
        submission_of(storage, most_unfinished=most_unfinished),
        execution_of(storage, crew),
        storage.store(utcnow),
        utcnow,
        timedelta(seconds=timeout),
        GRACE,
    )
    return create_run(inline, anonymous)


@contextlib.contextmanager
def unreachable(service: str) -> Iterator[Any]:
    """A client of an endpoint that refuses connections: its port is taken, and nobody listens there."""
    access = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=f"http://127.0.0.1:{taken.getsockname()[1]}",
            config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
            **access,
        )
        yield client
        client.close()


def job_row(storage: Storage, job_id: str) -> dict[str, Any]:
    (row,) = [row for row in storage.rows() if row["sk"]["S"] == "JOB"]
    assert row["pk"]["S"] == f"JOB#{job_id}"
    return row


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """RFC 9457, with this service's `remedy`."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:crewrelay:problem:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["remedy"]
    return body


def assert_untouched(storage: Storage) -> None:
    assert storage.rows() == []
    assert storage.messages(storage.queue_url) == []
