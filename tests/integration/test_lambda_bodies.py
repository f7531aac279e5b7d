"""What goes into a function behind a REST API as a body, and what comes out."""

import copy
import json

import pytest

from crewrelay.aws.bodies import LARGEST_ANSWER
from crewrelay.http.edge import Handler, lambda_handler
from crewrelay.jobs.records.answer import Answer
from tests.support.aws_events import Event, rest_event, submission, text_of
from tests.support.fixtures import Storage
from tests.support.http_apps import ANSWER, REQUEST, ScriptedCrew, api_app, assert_untouched, run_app, unreachable


def test_head_answers_as_get_without_a_body(handler: Handler) -> None:
    location = handler(submission(), None)["headers"]["location"].removeprefix("/prod")
    answer = handler(rest_event("HEAD", location), None)
    assert (answer["statusCode"], answer["body"]) == (200, "")
    assert answer["headers"]["content-type"] == "application/json"


def test_a_base64_body_is_decoded(handler: Handler) -> None:
    assert handler(submission(base64_body=True), None)["statusCode"] == 202


def test_text_goes_out_as_text_whatever_its_language(storage: Storage, main_loop: None) -> None:
    answer = Answer(text="Ein Netz lernt – 网络学习 🧠", usage=ANSWER.usage)
    run = lambda_handler(run_app(storage, ScriptedCrew(lambda _: answer)))
    reply = run(rest_event("POST", "/crewai/run", json.dumps(REQUEST), resource="/crewai/run"), None)
    assert reply["statusCode"] == 200
    assert json.loads(text_of(reply))["answer"] == answer.text


def test_the_largest_answer_fits_what_lambda_passes_on(storage: Storage, main_loop: None) -> None:
    """Its text is there twice, and the runtime writes ASCII: six bytes for two of UTF-8."""
    letter = "я"
    bare = Answer(text="", usage=ANSWER.usage)
    text = letter * ((LARGEST_ANSWER - len(bare.model_dump_json())) // len(letter.encode()))
    run = lambda_handler(run_app(storage, ScriptedCrew(lambda _: bare.model_copy(update={"text": text}))))
    ran = run(rest_event("POST", "/crewai/run", json.dumps(REQUEST), resource="/crewai/run"), None)
    job_id = json.loads(ran["body"])["job_id"]
    status = lambda_handler(api_app(storage))(rest_event("GET", f"/crewai/status/{job_id}"), None)
    for answer in (ran, status):
        body = json.loads(text_of(answer))
        assert body["answer"] == body["result"] == text
        assert len(json.dumps(answer)) < 6 * 1024 * 1024


@pytest.mark.parametrize(
    ("event", "status"),
    [
        pytest.param(rest_event("POST", "/crewai/run/async", "{"), 400, id="no JSON"),
        pytest.param(rest_event("POST", "/crewai/run/async", None), 400, id="no body"),
        pytest.param(rest_event("POST", "/crewai/run/async", "{}"), 422, id="no fields"),
        pytest.param(rest_event("POST", "/crewai/run/async", " " * 300_000), 413, id="too large"),
        pytest.param(rest_event("GET", "/crewai/status/nobody"), 404, id="unknown job"),
        pytest.param(rest_event("GET", "/nowhere"), 404, id="unknown path"),
        pytest.param(rest_event("DELETE", "/crewai/run/async"), 405, id="wrong method"),
    ],
)
def test_a_refusal_goes_out_as_text(handler: Handler, storage: Storage, event: Event, status: int) -> None:
    answer = handler(copy.deepcopy(event), None)
    problem = json.loads(text_of(answer))
    assert answer["statusCode"] == problem["status"] == status
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert problem["type"].startswith("urn:crewrelay:problem:")
    assert_untouched(storage)


def test_a_table_that_does_not_answer_is_503_and_not_a_crash(storage: Storage, main_loop: None) -> None:
    with unreachable("dynamodb") as dynamodb:
        answer = lambda_handler(api_app(storage._replace(dynamodb=dynamodb)))(submission(), None)
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (503, "application/problem+json")
    assert json.loads(text_of(answer))["remedy"]
    assert int(answer["headers"]["retry-after"]) > 0


def test_a_fault_of_the_service_is_a_problem_behind_the_gateway_too(storage: Storage, main_loop: None) -> None:
    broken = storage._replace(dynamodb=None)  # type: ignore[arg-type]
    answer = lambda_handler(api_app(broken))(submission(), None)
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (500, "application/problem+json")
    assert json.loads(text_of(answer))["type"] == "urn:crewrelay:problem:internal_error"
