"""The crews of a deployment over HTTP and the intake queue: listed with their inputs, asked for by name."""

import json
import shutil
from datetime import timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from crewrelay.aws.dead_letters import SqsDeadLetters
from crewrelay.catalogue.catalogue import catalogue
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.events.intake import Intake
from crewrelay.jobs.records.job import JobInput
from crewrelay.settings import CrewsSettings
from crewrelay.system import utcnow
from tests.support.crews import AGENTS, CREW, TASKS, OwnCrews, Shelf
from tests.support.doubles.crew import ScriptedModel
from tests.support.fixtures import Storage
from tests.support.http_apps import (
    REQUEST,
    ScriptedCrew,
    api_app,
    assert_problem,
    assert_untouched,
    execution_of,
    run_app,
    submission_of,
)

INPUTS = "  pages: {type: integer, minimum: 1, default: 2}\n  draft: {type: boolean, default: false}\n"
TALE = {"crew": "tales", "inputs": {"topic": "ants", "pages": 3}}
GIVEN = {"topic": "ants", "pages": 3, "draft": False}


@pytest.fixture
def client(storage: Storage, own_crews: OwnCrews) -> TestClient:
    """Of an API that knows a crew beside the one that ships."""
    texts = TASKS.replace("of {topic}", "of {topic} on {pages} pages, draft {draft}")
    own_crews.put(crew=CREW + INPUTS, tasks=texts)
    return TestClient(api_app(storage), raise_server_exceptions=False)


def crews(client: TestClient) -> dict[str, dict[str, Any]]:
    response = client.get("/crewai/crews")
    assert response.status_code == 200
    return {crew["name"]: crew for crew in response.json()["crews"]}


def test_crews_are_listed_with_the_schema_of_their_inputs(client: TestClient) -> None:
    listed = crews(client)
    assert list(listed) == ["research", "tales"]
    assert listed["tales"]["description"] == "Tells of a topic."
    schema = listed["tales"]["inputs"]
    Draft202012Validator.check_schema(schema)
    assert (schema["required"], schema["additionalProperties"]) == (["topic"], False)
    assert schema["properties"]["pages"] == {"type": "integer", "minimum": 1, "default": 2}
    assert listed["research"]["inputs"]["properties"].keys() == {"topic", "language"}


@pytest.mark.parametrize("path", ["/crewai/run", "/crewai/run/async"])
def test_the_schema_of_a_post_has_one_free_form_object_and_that_is_inputs(storage: Storage, path: str) -> None:
    app = api_app(storage) if path.endswith("async") else run_app(storage, ScriptedCrew())
    document = app.openapi()
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    webhook = {"webhook_url", "webhook_events", "webhook_form"}
    forms = [document["components"]["schemas"][one["$ref"].rpartition("/")[2]] for one in body["anyOf"]]
    assert [set(form["properties"]) for form in forms] == [
        {"topic", "language", "crew", "collection"} | webhook,
        {"crew", "inputs", "collection"} | webhook,
    ]
    assert [form["additionalProperties"] for form in forms] == [False, False]
    free = [name for form in forms for name, field in form["properties"].items() if field["type"] == "object"]
    assert free == ["inputs"]


def test_a_crew_is_asked_for_by_its_name_and_its_status_tells_its_inputs(client: TestClient, storage: Storage) -> None:
    response = client.post("/crewai/run/async", json=TALE)
    assert response.status_code == 202
    status = client.get(response.headers["location"]).json()
    assert (status["crew"], status["inputs"]) == ("tales", GIVEN)
    assert status["inputs"]["draft"] is False  # and not 0
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [response.json()["job_id"]]


def test_a_crew_of_ones_own_runs_inline_with_its_texts_filled_in(client: TestClient, storage: Storage) -> None:
    model = ScriptedModel(lambda _: "Once upon a time.")
    runner: Any = CrewRunner(lambda *_: model, Shelf())
    answered = TestClient(run_app(storage, runner)).post("/crewai/run", json=TALE)
    assert (answered.status_code, answered.json()["answer"]) == (200, "Once upon a time.")
    assert answered.json()["answerable"] is None  # it has no search
    assert "Tell of ants on 3 pages, draft false." in model.asked[0][-1]["content"]


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"crew": "tales", "inputs": {"topic": "x" * 21}}, "inputs.topic", "at most 20 characters"),
        ({"crew": "tales", "inputs": {"topic": "a\nb"}}, "inputs.topic", "control characters"),
        ({"crew": "tales", "inputs": {}}, "inputs.topic", "required"),
        ({"crew": "tales", "inputs": {"topic": "a", "pages": "3"}}, "inputs.pages", "integer"),
        ({"crew": "tales", "inputs": {"topic": "a", "tone": "dry"}}, "inputs.tone", "not permitted"),
        ({"crew": "tales", "inputs": ["a"]}, "inputs", "dictionary"),
        ({"crew": "tales"}, "inputs", "required"),
        ({"crew": "nobody", "inputs": {"topic": "a"}}, "crew", "research, tales"),
        ({"crew": "tales", **REQUEST}, "crew", "has other inputs, topic, pages, draft: send them as inputs"),
        ({**TALE, "topic": "a"}, "topic", "send topic and language, or crew and inputs"),
    ],
)
@pytest.mark.parametrize("path", ["/crewai/run", "/crewai/run/async"])
def test_what_is_wrong_with_the_inputs_is_a_422_that_names_the_field(
    client: TestClient, storage: Storage, path: str, body: Any, field: str, message: str
) -> None:
    app = client if path.endswith("async") else TestClient(run_app(storage, ScriptedCrew()))
    problem = assert_problem(app.post(path, json=body), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert message in problem["errors"][0]["message"]
    assert_untouched(storage)


def test_other_inputs_under_an_idempotency_key_are_a_conflict_and_defaults_are_none(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k"}
    first = client.post("/crewai/run/async", json=TALE, headers=headers).json()
    written_out = {"crew": "tales", "inputs": GIVEN}
    assert client.post("/crewai/run/async", json=written_out, headers=headers).json() == first
    for other in ({**GIVEN, "pages": 4}, {**GIVEN, "draft": True}):
        response = client.post("/crewai/run/async", json={"crew": "tales", "inputs": other}, headers=headers)
        assert_problem(response, 422, "idempotency_conflict")
    both_forms = {"crew": "research", "inputs": REQUEST}
    job = client.post("/crewai/run/async", json=both_forms, headers={"Idempotency-Key": "r"}).json()
    assert client.post("/crewai/run/async", json=REQUEST, headers={"Idempotency-Key": "r"}).json() == job


def test_a_message_of_the_intake_queue_may_name_a_crew(client: TestClient, storage: Storage) -> None:
    intake = Intake(submission_of(storage), "local", SqsDeadLetters(storage.sqs, storage.intake_dlq_url))
    for number, body in enumerate((TALE, {**TALE, "inputs": {}})):
        message: Any = {"messageId": f"m-{number}", "body": json.dumps(body), "messageAttributes": {}}
        intake.take(message)
    (bell,) = storage.messages(storage.queue_url)
    assert client.get(f"/crewai/status/{bell['Body']}").json()["inputs"] == GIVEN
    (dead,) = storage.messages(storage.intake_dlq_url)
    assert "inputs.topic: Field required" in json.dumps(dead["MessageAttributes"])


def test_a_crew_that_is_broken_is_told_when_it_is_asked_for(client: TestClient, own_crews: OwnCrews) -> None:
    own_crews.put("broken", crew="description: x\n", agents=AGENTS)
    problem = assert_problem(client.post("/crewai/run/async", json={**TALE, "crew": "broken"}), 500, "invalid_crew")
    assert "broken/config/crew.yaml:1: inputs: is missing; add it" in problem["detail"]
    assert client.post("/crewai/run/async", json=REQUEST).status_code == 202


def test_a_job_whose_crew_is_gone_fails_at_once_and_says_so(client: TestClient, storage: Storage) -> None:
    where = client.post("/crewai/run/async", json=TALE).headers["location"]
    storage.messages(storage.queue_url)
    catalogue.cache_clear()
    shutil.rmtree(next(folder for folder in CrewsSettings.read().folders) / "tales")
    runner: Any = CrewRunner(lambda *_: ScriptedModel(), Shelf())
    execution_of(storage, runner).run(where.rpartition("/")[2], utcnow() + timedelta(minutes=1))
    status = client.get(where).json()
    assert status["status"] == "failed"
    assert status["error"]["type"] == "invalid_crew"
    assert "no crew tales; it has research." in status["error"]["message"]


def test_an_input_of_text_alone_is_read_as_it_was_written(storage: Storage) -> None:
    """Rows of before crews had numbers."""
    old = '{"crew":"research","inputs":{"topic":"12","language":"en"}}'
    assert JobInput.model_validate_json(old).model_dump_json(exclude_none=True) == old
