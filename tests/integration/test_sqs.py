"""The queues: a bell that says only whose turn it is, batches in which nobody fails for another, and the intake."""

import json
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from crewrelay.aws import clients
from crewrelay.aws.dead_letters import SqsDeadLetters
from crewrelay.aws.queue import SqsQueue
from crewrelay.events.batch import BatchResponse, answer_batch
from crewrelay.events.bells import job_id_of
from crewrelay.events.intake import Intake
from crewrelay.events.records import MESSAGE_ID, Record
from crewrelay.jobs.errors import InvalidRequest, ServiceRefused, Unavailable
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.submission import Submission
from crewrelay.testing import MemoryJobStore
from tests.support.aws_events import sqs_event, sqs_record
from tests.support.fixtures import HandSetClock, Storage

GOOD = json.dumps({"topic": "neural networks", "language": "en"})


def failed(response: BatchResponse) -> list[str]:
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


# ---- the doorbell


TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=1:fc3b4ff1:15"


def test_a_bell_is_sent_without_the_trace_by_which_lambda_counts_a_chain_of_invocations(
    storage: Storage, emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"AWS_ENDPOINT_URL": emulator, "AWS_DEFAULT_REGION": "us-east-1"}
    variables |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    variables |= {"AWS_LAMBDA_FUNCTION_NAME": "worker", "_X_AMZN_TRACE_ID": TRACE}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    sent: dict[str, Any] = {}
    sqs, dynamodb = clients.sqs.__wrapped__(), clients.dynamodb.__wrapped__()  # new ones, and not kept
    for service, client in (("sqs", sqs), ("dynamodb", dynamodb)):
        client.meta.events.register(
            "before-send", lambda request, service=service, **_: sent.update({service: request})
        )
    job_id = str(uuid4())
    SqsQueue(sqs, storage.queue_url).ring(job_id)
    dynamodb.describe_table(TableName=storage.table)
    (message,) = storage.messages(storage.queue_url)
    assert message["Body"] == job_id
    assert sent["dynamodb"].headers["X-Amzn-Trace-Id"].decode() == TRACE  # or the test would show nothing
    assert "X-Amzn-Trace-Id" not in sent["sqs"].headers


def test_the_bell_says_the_job_id_and_nothing_else(storage: Storage) -> None:
    job_id = str(uuid4())
    SqsQueue(storage.sqs, storage.queue_url).ring(job_id)
    (message,) = storage.messages(storage.queue_url)
    assert message["Body"] == job_id
    assert "MessageAttributes" not in message
    assert job_id_of(message["Body"]) == job_id


def test_a_queue_that_is_not_there_refuses(storage: Storage) -> None:
    with pytest.raises(ServiceRefused, match="queue"):
        SqsQueue(storage.sqs, storage.queue_url + "-gone").ring(str(uuid4()))


def test_the_doorbell_knows_how_many_bells_wait(storage: Storage) -> None:
    doorbell = SqsQueue(storage.sqs, storage.queue_url)
    for delay in (0, 0, 600):
        doorbell.ring(str(uuid4()), timedelta(seconds=delay))
    assert doorbell.waiting() == 2


# ---- batches


@pytest.mark.parametrize("body", ["", "{}", "not an id", '{"job_id": "x"}', "1234", "null"])
def test_a_body_that_is_no_job_id_is_refused(body: str) -> None:
    with pytest.raises(InvalidRequest):
        job_id_of(body)


def test_a_malformed_record_fails_alone_and_its_neighbours_are_done() -> None:
    ids = [str(uuid4()) for _ in range(3)]
    records = [sqs_record(ids[0]), sqs_record("not an id", "the bad one"), sqs_record(ids[1]), sqs_record(ids[2])]
    done: list[str] = []
    response = answer_batch(sqs_event(*records), lambda one: done.append(job_id_of(one["body"])))
    assert failed(response) == ["the bad one"]
    assert sorted(done) == sorted(ids)


def test_a_handler_that_raises_fails_its_record_only() -> None:
    def handle(one: Record) -> None:
        if one["body"] == "down":
            raise Unavailable("The table did not answer.")

    response = answer_batch(sqs_event(sqs_record("down", "a"), sqs_record("up", "b"), sqs_record("down", "c")), handle)
    assert failed(response) == ["a", "c"]


def test_all_records_run_at_once() -> None:
    together = threading.Barrier(10, timeout=10)
    response = answer_batch(sqs_event(*(sqs_record(str(uuid4())) for _ in range(10))), lambda _: void(together.wait()))
    assert failed(response) == []


def void(_: object) -> None: ...


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"Records": None},
        {"Records": {}},
        {"Records": ["text"]},
        {"Records": [{"EventSource": "aws:sns"}]},
        {"Records": [{"eventSource": "aws:s3"}]},
        {"httpMethod": "POST", "body": GOOD},
    ],
    ids=repr,
)
def test_what_is_no_sqs_event_is_refused(other: dict[str, Any]) -> None:
    handled: list[Record] = []
    with pytest.raises(ValueError, match="SQS"):
        answer_batch(other, handled.append)
    assert handled == []


def test_an_empty_batch_is_answered() -> None:
    assert answer_batch({"Records": []}, void) == {"batchItemFailures": []}


# ---- the intake


Take = Callable[..., list[str]]


def intake(storage: Storage, clock: HandSetClock, store: JobStore | None = None) -> Take:
    """Feeds records to an intake, all in one event; gives the ids of those reported as failed."""
    submission = Submission(
        store or storage.store(clock),
        SqsQueue(storage.sqs, storage.queue_url),
        clock,
        lambda: str(uuid4()),
        Policy(),
    )
    taker = Intake(submission, "acme", SqsDeadLetters(storage.sqs, storage.intake_dlq_url))
    return lambda *records: failed(answer_batch(sqs_event(*records), taker.take))


def job_ids(storage: Storage) -> list[str]:
    return [row["pk"]["S"].removeprefix("JOB#") for row in storage.rows() if row["sk"]["S"] == "JOB"]


def test_a_good_message_becomes_a_job_and_a_bell(storage: Storage, clock: HandSetClock) -> None:
    assert intake(storage, clock)(sqs_record(GOOD)) == []
    (job_id,) = job_ids(storage)
    stored = storage.store(clock).load(job_id)
    assert stored is not None
    assert (stored.job.tenant, stored.job.status) == ("acme", Status.PENDING)
    assert stored.input == JobInput(crew="research", inputs={"topic": "neural networks", "language": "en"})
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [job_id]
    assert storage.messages(storage.intake_dlq_url) == []


def test_a_message_delivered_twice_is_one_job(storage: Storage, clock: HandSetClock) -> None:
    take = intake(storage, clock)
    assert take(sqs_record(GOOD, "m-1")) == take(sqs_record(GOOD, "m-1")) == []
    assert len(job_ids(storage)) == 1


def test_two_messages_with_the_same_text_are_two_jobs(storage: Storage, clock: HandSetClock) -> None:
    assert intake(storage, clock)(sqs_record(GOOD), sqs_record(GOOD)) == []
    assert len(job_ids(storage)) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param("not JSON", "JSON", id="not JSON"),
        pytest.param("[1, 2]", "object", id="an array"),
        pytest.param('{"topic": "t", "language": "en", "extra": 1}', "extra", id="an unknown field"),
        pytest.param('{"topic": "t", "language": "english"}', "language", id="a bad language"),
        pytest.param('{"topic": "t", "language": "en", "a\\u0000\\nb\\u001b": 1}', "a??b?", id="control characters"),
        pytest.param('{"topic": "t", "language": "en", "\\ud800": 1}', "JSON", id="half a surrogate pair"),
        pytest.param(json.dumps({"x" * 5000: 1}), "xxx", id="a long field name"),
        pytest.param("{}", "topic", id="empty"),
    ],
)
def test_a_bad_message_goes_to_the_dead_letters_with_the_reason(
    storage: Storage, clock: HandSetClock, body: str, reason: str
) -> None:
    assert intake(storage, clock)(sqs_record(body, "the-bad-one")) == []
    (letter,) = storage.messages(storage.intake_dlq_url)
    attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert letter["Body"] == body
    assert attributes[MESSAGE_ID] == "the-bad-one"
    assert attributes["code"] == "invalid_request"
    assert reason in attributes["reason"]
    assert storage.rows() == []
    assert storage.messages(storage.queue_url) == []


def test_a_message_may_name_no_collection_of_a_tenant(storage: Storage, clock: HandSetClock) -> None:
    assert intake(storage, clock)(sqs_record(json.dumps(json.loads(GOOD) | {"collection": "zoo"}))) == []
    (letter,) = storage.messages(storage.intake_dlq_url)
    assert letter["MessageAttributes"]["code"]["StringValue"] == "foreign_collection"
    assert storage.rows() == []


def test_a_bad_message_spoils_nothing_for_its_neighbours(storage: Storage, clock: HandSetClock) -> None:
    assert intake(storage, clock)(sqs_record(GOOD), sqs_record("bad"), sqs_record(GOOD)) == []
    assert len(job_ids(storage)) == 2
    assert len(storage.messages(storage.intake_dlq_url)) == 1


class NoTable(MemoryJobStore):
    def create(self, job: Job, job_input: JobInput, subscriptions: Sequence[Subscription] = ()) -> Job:
        raise Unavailable("The table did not answer.")


def test_with_the_table_down_the_message_is_delivered_again(storage: Storage, clock: HandSetClock) -> None:
    take = intake(storage, clock, NoTable(clock))
    assert take(sqs_record(GOOD, "good"), sqs_record("bad", "bad")) == ["good"]
    assert storage.messages(storage.queue_url) == []
    assert len(storage.messages(storage.intake_dlq_url)) == 1


# ---- the bell of a backoff


def test_a_bell_never_comes_before_its_time(storage: Storage) -> None:
    """Too early, it would be dropped: the backoff still stands."""
    delays: list[int] = []

    def look(params: dict[str, Any], **_: Any) -> None:
        delays.append(params["DelaySeconds"])

    storage.sqs.meta.events.register("provide-client-params.sqs.SendMessage", look)
    bell = SqsQueue(storage.sqs, storage.queue_url)
    for seconds in (0, 0.001, 4.9, 5, 899.5, 5_000):
        bell.ring("a-job", timedelta(seconds=seconds))
    assert delays == [0, 1, 5, 5, 900, 900]
