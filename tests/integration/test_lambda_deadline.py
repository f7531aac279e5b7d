"""Behind a REST API a run has until the gateway gives up, from when the gateway got its request."""

import json
import threading
import time

import pytest

from crewrelay.http.edge import lambda_handler
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput
from tests.support.aws_events import rest_event, text_of
from tests.support.fixtures import Storage
from tests.support.http_apps import ANSWER, REQUEST, ScriptedCrew, run_app


def test_an_event_without_a_time_of_receipt_counts_from_now(storage: Storage, main_loop: None) -> None:
    event = rest_event("POST", "/crewai/run", json.dumps(REQUEST))
    del event["requestContext"]["requestTimeEpoch"]
    assert lambda_handler(run_app(storage, ScriptedCrew()))(event, None)["statusCode"] == 200


@pytest.mark.parametrize("age", [26, 600], ids=["nearly all", "all of it"])
def test_the_deadline_counts_from_when_the_gateway_got_the_request(
    storage: Storage, gate: threading.Event, main_loop: None, age: float
) -> None:
    def script(_: JobInput) -> Answer:
        gate.wait()
        return ANSWER

    run = lambda_handler(run_app(storage, ScriptedCrew(script), timeout=27))
    started = time.monotonic()
    answer = run(rest_event("POST", "/crewai/run", json.dumps(REQUEST), age=age), None)
    assert time.monotonic() - started < 1 + 4
    job_id = json.loads(text_of(answer))["job_id"]
    assert answer["statusCode"] == 202
    assert answer["headers"]["location"] == f"/prod/crewai/status/{job_id}"
    assert int(answer["headers"]["retry-after"]) > 0
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [job_id]


def test_a_gateway_whose_clock_is_ahead_does_not_lengthen_the_wait(
    storage: Storage, gate: threading.Event, main_loop: None
) -> None:
    def script(_: JobInput) -> Answer:
        gate.wait()
        return ANSWER

    run = lambda_handler(run_app(storage, ScriptedCrew(script), timeout=0.3))
    started = time.monotonic()
    answer = run(rest_event("POST", "/crewai/run", json.dumps(REQUEST), age=-3600), None)
    assert time.monotonic() - started < 0.3 + 4
    assert answer["statusCode"] == 202
