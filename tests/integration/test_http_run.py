"""The inline run over the real store and queue: an answer in time, or where to look for it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.testclient import TestClient

from crewrelay.jobs.errors import BudgetExceeded
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput
from tests.support.fixtures import Storage
from tests.support.http_apps import (
    ANSWER,
    GRACE,
    REQUEST,
    ScriptedCrew,
    api_app,
    assert_problem,
    assert_untouched,
    job_row,
    run_app,
    unreachable,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SLACK = 4.0  # seconds that the writes around a run may take on a busy machine


def blocking(gate: threading.Event) -> ScriptedCrew:
    def script(_: JobInput) -> Answer:
        gate.wait()
        return ANSWER

    return ScriptedCrew(script)


def raising(error: BaseException) -> ScriptedCrew:
    def script(_: JobInput) -> Answer:
        raise error

    return ScriptedCrew(script)


def client_of(storage: Storage, crew: ScriptedCrew, **options: Any) -> TestClient:
    return TestClient(run_app(storage, crew, **options), raise_server_exceptions=False)


def accepted(response: Any, status: str) -> dict[str, str]:
    """The body of a 202 for the job of the response."""
    job_id = response.json()["job_id"]
    return {"job_id": job_id, "status": status, "status_url": f"http://testserver/crewai/status/{job_id}"}


def test_a_crew_that_ends_in_time_answers_200_with_these_keys(storage: Storage) -> None:
    crew = ScriptedCrew()
    response = client_of(storage, crew).post("/crewai/run", json=REQUEST)
    job_id = response.json()["job_id"]
    assert response.status_code == 200
    assert response.json() == {
        "job_id": job_id,
        "status": "completed",
        "answer": ANSWER.text,
        "result": ANSWER.text,
        "sources": [source.model_dump() for source in ANSWER.sources],
        "answerable": True,
        "unknown_citations": [],
        "usage": ANSWER.usage.model_dump(mode="json"),
    }
    assert response.headers["location"] == f"/crewai/status/{job_id}"
    assert crew.given == [JobInput(crew="research", inputs=REQUEST)]
    assert job_row(storage, job_id)["status"] == {"S": "completed"}
    assert storage.messages(storage.queue_url) == []


def test_the_api_shows_what_the_run_answered(storage: Storage) -> None:
    run = client_of(storage, ScriptedCrew()).post("/crewai/run", json=REQUEST)
    status = TestClient(api_app(storage)).get(run.headers["location"]).json()
    assert (status["status"], status["result"]) == ("completed", run.json()["answer"])
    assert (status["sources"], status["usage"]) == (run.json()["sources"], run.json()["usage"])


def test_the_row_is_committed_before_the_crew_starts(storage: Storage) -> None:
    seen: list[str] = []

    def script(_: JobInput) -> Answer:
        seen.extend(row["status"]["S"] for row in storage.rows() if row["sk"]["S"] == "JOB")
        return ANSWER

    client_of(storage, ScriptedCrew(script)).post("/crewai/run", json=REQUEST)
    assert seen == ["running"]


def test_at_the_deadline_the_answer_is_202_and_the_job_goes_back_to_the_queue(
    storage: Storage, gate: threading.Event
) -> None:
    started = time.monotonic()
    response = client_of(storage, blocking(gate), timeout=0.5).post("/crewai/run", json=REQUEST)
    assert 0.5 <= time.monotonic() - started < 0.5 + SLACK
    job_id = response.json()["job_id"]
    assert response.status_code == 202
    assert response.json() == accepted(response, "pending")
    assert response.headers["location"] == f"/crewai/status/{job_id}"
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["content-type"] == "application/json"
    assert job_row(storage, job_id)["status"] == {"S": "pending"}
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [job_id]


def test_what_a_crew_says_after_the_deadline_changes_nothing(storage: Storage, gate: threading.Event) -> None:
    late = threading.Event()

    def script(_: JobInput) -> Answer:
        gate.wait()
        late.set()
        return ANSWER

    client_of(storage, ScriptedCrew(script), timeout=0.2).post("/crewai/run", json=REQUEST)
    before = storage.rows()
    gate.set()
    assert late.wait(5)
    assert storage.rows() == before


def test_requests_wait_for_their_crews_at_the_same_time(storage: Storage) -> None:
    together = threading.Barrier(8)

    def script(_: JobInput) -> Answer:
        together.wait(10)
        return ANSWER

    client = client_of(storage, ScriptedCrew(script))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.post("/crewai/run", json=REQUEST | {"topic": f"t{n}"}), range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.json()["job_id"] for answer in answers}) == 8


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("The model is gone."), "The model is gone."),
        (
            SystemExit("Too long."),
            "CrewAI gave up: the conversation is longer than the model's context window. Too long.",
        ),
        (BudgetExceeded("Too much."), f"Too much. {BudgetExceeded.remedy}"),
        (ValueError(), "The crew gave no reason."),
    ],
    ids=["an error", "an exit", "an error of ours", "an error without words"],
)
def test_a_crew_that_fails_is_502_with_the_job_and_the_reason(
    storage: Storage, error: BaseException, reason: str
) -> None:
    response = client_of(storage, raising(error)).post("/crewai/run", json=REQUEST)
    body = assert_problem(response, 502, "run_failed")
    assert (body["detail"], body["error"]["message"]) == (reason, reason)
    assert response.headers["location"] == f"/crewai/status/{body['job_id']}"
    assert job_row(storage, body["job_id"])["status"] == {"S": "failed"}
    assert storage.messages(storage.queue_url) == []


def test_a_table_that_does_not_answer_is_503_and_no_crew_starts(storage: Storage) -> None:
    crew = ScriptedCrew()
    with unreachable("dynamodb") as dynamodb:
        response = client_of(storage._replace(dynamodb=dynamodb), crew).post("/crewai/run", json=REQUEST)
    assert_problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert crew.given == []
    assert_untouched(storage)


def test_a_table_lost_after_the_commit_is_202_for_the_job_is_accepted(storage: Storage) -> None:
    class LostAfterCommit:
        """Counts and writes, but reads no more."""

        def __init__(self, lost: "DynamoDBClient") -> None:
            self._lost = lost

        def __getattr__(self, name: str) -> Any:
            return getattr(storage.dynamodb if name in ("query", "put_item") else self._lost, name)

    with unreachable("dynamodb") as lost:
        dynamodb = cast("DynamoDBClient", LostAfterCommit(lost))
        response = client_of(storage._replace(dynamodb=dynamodb), ScriptedCrew()).post("/crewai/run", json=REQUEST)
    assert response.status_code == 202
    assert int(response.headers["retry-after"]) > 0
    assert "due_at" in job_row(storage, response.json()["job_id"])


def test_a_queue_that_does_not_answer_at_the_deadline_leaves_the_job_due(
    storage: Storage, gate: threading.Event
) -> None:
    with unreachable("sqs") as sqs:
        client = client_of(storage._replace(sqs=sqs), blocking(gate), timeout=0.2)
        response = client.post("/crewai/run", json=REQUEST)
    assert response.status_code == 202
    row = job_row(storage, response.json()["job_id"])
    assert row["status"] == {"S": "pending"}
    assert "due_at" in row


def test_a_table_that_hangs_after_the_commit_does_not_hold_up_the_answer(
    storage: Storage, gate: threading.Event
) -> None:
    class HangsAtTheClaim:
        def __getattr__(self, name: str) -> Any:
            return getattr(storage.dynamodb, name)

        def update_item(self, **request: Any) -> Any:
            gate.wait()
            return storage.dynamodb.update_item(**request)

    dynamodb = cast("DynamoDBClient", HangsAtTheClaim())
    client = client_of(storage._replace(dynamodb=dynamodb), ScriptedCrew(), timeout=0.2)
    with ThreadPoolExecutor(1) as pool:
        try:
            asked = pool.submit(client.post, "/crewai/run", json=REQUEST)
            response = asked.result(0.2 + GRACE.total_seconds() + SLACK)
        finally:
            gate.set()
    assert response.status_code == 202
    assert response.json() == accepted(response, "pending")


# ---- preferences


def test_a_caller_in_a_hurry_waits_no_longer_than_he_says(storage: Storage, gate: threading.Event) -> None:
    started = time.monotonic()
    response = client_of(storage, blocking(gate)).post("/crewai/run", json=REQUEST, headers={"Prefer": "wait=1"})
    assert 1 <= time.monotonic() - started < 1 + SLACK
    assert (response.status_code, response.headers["preference-applied"]) == (202, "wait=1")
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [response.json()["job_id"]]


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("respond-async", "respond-async"), ("wait=0", "wait=0"), ("respond-async, wait=0", "respond-async, wait=0")],
)
def test_a_caller_who_does_not_wait_gets_202_at_once_and_no_crew_starts_here(
    storage: Storage, prefer: str, applied: str
) -> None:
    crew = ScriptedCrew()
    response = client_of(storage, crew).post("/crewai/run", json=REQUEST, headers={"Prefer": prefer})
    job_id = response.json()["job_id"]
    assert response.status_code == 202
    assert response.json() == accepted(response, "pending")
    assert (response.headers["preference-applied"], response.headers["location"]) == (
        applied,
        f"/crewai/status/{job_id}",
    )
    assert int(response.headers["retry-after"]) > 0
    assert job_row(storage, job_id)["status"] == {"S": "pending"}
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [job_id]
    assert crew.given == []


def test_an_answer_within_the_wait_is_200_although_202_would_do(storage: Storage) -> None:
    headers = {"Prefer": "respond-async, wait=15"}
    response = client_of(storage, ScriptedCrew()).post("/crewai/run", json=REQUEST, headers=headers)
    assert (response.status_code, response.headers["preference-applied"]) == (200, "wait=15")


def test_a_caller_who_would_wait_longer_than_the_gateway_is_told_how_long_it_is(
    storage: Storage, gate: threading.Event
) -> None:
    started = time.monotonic()
    client = client_of(storage, blocking(gate), timeout=1)
    response = client.post("/crewai/run", json=REQUEST, headers={"Prefer": "wait=600"})
    assert 1 <= time.monotonic() - started < 1 + SLACK
    assert (response.status_code, response.headers["preference-applied"]) == (202, "wait=1")


@pytest.mark.parametrize("prefer", [None, "", "wait=soon", "wait=-1", "foo=bar; wait=0", ",;=,"])
def test_what_can_not_be_understood_is_ignored_and_not_said_to_be_applied(storage: Storage, prefer: str | None) -> None:
    headers = {} if prefer is None else {"Prefer": prefer}
    response = client_of(storage, ScriptedCrew()).post("/crewai/run", json=REQUEST, headers=headers)
    assert response.status_code == 200
    assert "preference-applied" not in response.headers


def test_preferences_may_come_in_headers_of_their_own(storage: Storage) -> None:
    headers = [("Prefer", "respond-async"), ("Prefer", "wait=0")]
    response = client_of(storage, ScriptedCrew()).post("/crewai/run", json=REQUEST, headers=headers)
    assert (response.status_code, response.headers["preference-applied"]) == (202, "respond-async, wait=0")


# ---- idempotency


def test_a_repeat_under_an_idempotency_key_gets_the_same_answer_and_pays_nothing(storage: Storage) -> None:
    crew = ScriptedCrew()
    client = client_of(storage, crew)
    first, second = (client.post("/crewai/run", json=REQUEST, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (second.status_code, second.json()) == (200, first.json())
    assert len(crew.given) == 1


def test_a_repeat_of_a_failed_run_gets_the_same_failure(storage: Storage) -> None:
    crew = raising(RuntimeError("The model is gone."))
    client = client_of(storage, crew)
    first, second = (client.post("/crewai/run", json=REQUEST, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (second.status_code, second.json()) == (502, first.json())
    assert len(crew.given) == 1


def test_a_repeat_while_the_first_runs_says_where_to_look(storage: Storage, gate: threading.Event) -> None:
    running = threading.Event()

    def script(_: JobInput) -> Answer:
        running.set()
        gate.wait()
        return ANSWER

    crew = ScriptedCrew(script)
    client = client_of(storage, crew)
    headers = {"Idempotency-Key": "k"}
    with ThreadPoolExecutor(1) as pool:
        try:
            first = pool.submit(client.post, "/crewai/run", json=REQUEST, headers=headers)
            assert running.wait(10)
            second = client.post("/crewai/run", json=REQUEST, headers=headers)
        finally:
            gate.set()
        assert second.status_code == 202
        assert second.json() == accepted(first.result(), "running")
    assert first.result().status_code == 200
    assert len(crew.given) == 1


def test_another_body_under_the_same_key_is_a_conflict_and_no_crew_starts(storage: Storage) -> None:
    crew = ScriptedCrew()
    client = client_of(storage, crew)
    client.post("/crewai/run", json=REQUEST, headers={"Idempotency-Key": "k"})
    before = storage.rows()
    response = client.post("/crewai/run", json=REQUEST | {"language": "de"}, headers={"Idempotency-Key": "k"})
    assert_problem(response, 422, "idempotency_conflict")
    assert storage.rows() == before
    assert len(crew.given) == 1


def test_a_key_means_the_same_job_inline_and_in_the_queue(storage: Storage) -> None:
    crew = ScriptedCrew()
    headers = {"Idempotency-Key": "k"}
    inline = client_of(storage, crew).post("/crewai/run", json=REQUEST, headers=headers)
    queued = TestClient(api_app(storage)).post("/crewai/run/async", json=REQUEST, headers=headers)
    assert queued.status_code == 202
    assert queued.json() == accepted(inline, "completed")
    assert storage.messages(storage.queue_url) == []
