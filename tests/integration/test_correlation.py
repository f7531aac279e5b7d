"""One id from the request to the crew: sent or made, answered, kept on the job's row, in the keys of every log line."""

import logging
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.http.edge import lambda_handler
from crewrelay.jobs.log_keys import log_keys
from crewrelay.jobs.records.job import JobInput
from crewrelay.local.event_sources import Context
from tests.support.aws_events import rest_event
from tests.support.fixtures import Storage
from tests.support.http_apps import ANSWER, REQUEST, ScriptedCrew, api_app, job_row, run_app, unreachable

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class KeysOfLog(logging.Handler):
    """The keys of every line that this package logs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append({"message": record.getMessage(), **log_keys()})


@pytest.fixture
def log() -> Iterator[KeysOfLog]:
    logger, handler = logging.getLogger("crewrelay"), KeysOfLog()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        pytest.param({"X-Correlation-Id": "n8n-execution.4711"}, "n8n-execution.4711", id="the caller's own"),
        pytest.param({"traceparent": TRACEPARENT}, TRACE, id="the trace's"),
        pytest.param({"traceparent": TRACEPARENT, "X-Correlation-Id": "mine"}, "mine", id="both"),
        pytest.param({"traceparent": TRACEPARENT, "X-Correlation-Id": "my topic"}, TRACE, id="one that is none"),
    ],
)
def test_an_id_that_is_sent_is_answered_and_kept(storage: Storage, sent: dict[str, str], answered: str) -> None:
    with TestClient(api_app(storage)) as client:
        response = client.post("/crewai/run/async", json=REQUEST, headers=sent)
    assert response.headers["X-Correlation-Id"] == answered
    assert job_row(storage, response.json()["job_id"])["correlation_id"]["S"] == answered


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"X-Correlation-Id": ""},
        {"X-Correlation-Id": "x" * 65},
        {"X-Correlation-Id": 'a"b'},
        {"X-Correlation-Id": "ä".encode().decode("latin-1")},
        {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"},
        {"traceparent": f"ff-{TRACE}-00f067aa0ba902b7-01"},
        {"traceparent": TRACE},
    ],
)
def test_what_can_be_no_id_is_passed_over_for_one_of_ours(storage: Storage, sent: dict[str, str]) -> None:
    with TestClient(api_app(storage)) as client:
        headers = {name: value.encode("latin-1") for name, value in sent.items()}
        answered = client.get("/health", headers=headers).headers["X-Correlation-Id"]  # type: ignore[arg-type]
    assert str(uuid.UUID(answered)) == answered


def test_behind_api_gateway_ours_is_its_request_id(storage: Storage) -> None:
    event = rest_event("GET", "/health")
    answer = lambda_handler(api_app(storage))(event, Context("api", 29))
    assert answer["headers"]["x-correlation-id"] == event["requestContext"]["requestId"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/crewai/status/nobody", 404), ("POST", "/crewai/run/async", 400)]
)
def test_refusals_have_it_too(storage: Storage, method: str, path: str, status: int) -> None:
    with TestClient(api_app(storage)) as client:
        response = client.request(method, path, headers={"X-Correlation-Id": "mine"})
    assert (response.status_code, response.headers["X-Correlation-Id"]) == (status, "mine")


def test_so_has_what_nobody_expected_and_its_line_in_the_log(storage: Storage, log: KeysOfLog) -> None:
    app = api_app(storage)

    @app.get("/broken/{what}")
    def broken(what: str) -> None:
        raise RuntimeError(what)

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/broken/canary", headers={"X-Correlation-Id": "mine"})
    assert (response.status_code, response.headers["X-Correlation-Id"]) == (500, "mine")
    assert log.seen == [{"message": "GET /broken/{what} failed", "correlation_id": "mine"}]


def test_a_table_that_is_away_is_logged_with_it_and_without_the_path(storage: Storage, log: KeysOfLog) -> None:
    with unreachable("dynamodb") as dynamodb:
        app = api_app(storage._replace(dynamodb=dynamodb))
        event = rest_event("GET", "/crewai/status/my-topic")
        context = Context("api", 29)
        assert lambda_handler(app)(event, context)["statusCode"] == 503
    (line,) = log.seen
    assert line["message"] == "GET /crewai/status/{job_id} failed"
    assert (line["request_id"], line["correlation_id"]) == (
        context.aws_request_id,
        event["requestContext"]["requestId"],
    )


def test_the_crew_of_an_inline_run_has_it(storage: Storage) -> None:
    keys: list[dict[str, Any]] = []

    def script(job_input: JobInput) -> Any:
        keys.append(dict(log_keys()))
        return ANSWER

    with TestClient(run_app(storage, ScriptedCrew(script))) as client:
        headers = {"X-Correlation-Id": "mine"}
        job_id = client.post("/crewai/run", json=REQUEST, headers=headers).json()["job_id"]
    assert keys == [{"correlation_id": "mine", "job_id": job_id, "tenant": "local", "fence": 1}]


def test_one_request_does_not_have_the_id_of_another(storage: Storage) -> None:
    with TestClient(api_app(storage)) as client:
        first = client.get("/health", headers={"X-Correlation-Id": "mine"}).headers["X-Correlation-Id"]
        second = client.get("/health").headers["X-Correlation-Id"]
    assert first == "mine" != second
