"""The OpenAPI document, by the rules that generated clients and the linters Redocly and Spectral ask for."""

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from crewrelay.http.api import create_api
from crewrelay.http.long_poll import LongPoll
from crewrelay.http.problems import MEDIA_TYPE
from crewrelay.http.run import create_run
from crewrelay.http.services import Services
from crewrelay.jobs.access import Caller
from tests.support.http_apps import LOCAL

Operation = dict[str, Any]

NOTHING = cast(Any, None)  # describing an app asks nothing of its ports
OPEN = {"GET /", "GET /health"}
WITHOUT_BODY = {"204", "304"}
OPERATIONS = {
    "GET /": "root",
    "GET /health": "health",
    "GET /crewai/crews": "crews",
    "POST /crewai/run": "run",
    "POST /crewai/run/async": "submit",
    "GET /crewai/status/{job_id}": "status",
    "GET /crewai/messages/{message_id}": "message",
    "POST /crewai/run/batch": "submit_batch",
    "POST /crewai/batches": "create_batch",
    "POST /crewai/batches/{batch_id}/start": "start_batch",
    "GET /crewai/jobs/{job_id}/deliveries": "job_deliveries",
    "POST /crewai/jobs/{job_id}/deliveries/redeliver": "redeliver",
    "GET /crewai/batches/{batch_id}/deliveries": "batch_deliveries",
    "POST /crewai/batches/{batch_id}/deliveries/redeliver": "redeliver_batch",
    "GET /crewai/webhooks/secret": "signing_secret",
    "POST /crewai/webhooks/secret/rotate": "rotate_signing_secret",
    "GET /crewai/batches/{batch_id}": "batch",
    "GET /crewai/batches/{batch_id}/results": "batch_results",
    "POST /crewai/batches/{batch_id}/cancel": "cancel_batch",
    "GET /crewai/jobs": "jobs",
    "DELETE /crewai/jobs/{job_id}": "delete",
    "GET /crewai/jobs/{job_id}/calls": "calls",
    "GET /crewai/jobs/{job_id}/events": "events",
    "GET /crewai/jobs/{job_id}/files/{number}": "file",
    "POST /crewai/jobs/{job_id}/cancel": "cancel",
    "POST /crewai/jobs/{job_id}/retry": "retry",
    "POST /crewai/jobs/{job_id}/resume": "resume",
}


def api(anonymous: Caller | None) -> FastAPI:
    return create_api(
        Services(NOTHING, NOTHING, NOTHING, NOTHING, LongPoll(NOTHING, NOTHING, NOTHING), NOTHING, NOTHING), anonymous
    )


@pytest.fixture(scope="module")
def apps() -> list[FastAPI]:
    return [api(None), create_run(NOTHING, None)]


def operations(app: FastAPI) -> Iterator[tuple[str, Operation]]:
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


@pytest.fixture(scope="module")
def documented(apps: list[FastAPI]) -> dict[str, Operation]:
    return dict(operations(apps[0]))


def test_the_documents_are_valid_and_served_with_the_address_that_was_asked(apps: list[FastAPI]) -> None:
    for app in (*apps, api(LOCAL)):
        client = TestClient(app, base_url="http://crews.test:8000")
        document = client.get("/openapi.json").json()
        validate(document)
        assert document["servers"] == [{"url": "http://crews.test:8000"}]


def test_every_operation_has_a_short_name_of_its_own(documented: dict[str, Operation]) -> None:
    assert {name: operation["operationId"] for name, operation in documented.items()} == OPERATIONS


def test_an_operation_says_what_it_does_and_under_which_heading(
    apps: list[FastAPI], documented: dict[str, Operation]
) -> None:
    document = apps[0].openapi()
    assert document["info"]["contact"]
    assert document["info"]["description"]
    headings = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert all(headings.values())
    for name, operation in documented.items():
        assert operation["summary"], name
        assert operation["description"], name
        (tag,) = operation["tags"]
        assert tag in headings, name
    assert {operation["tags"][0] for operation in documented.values()} == headings.keys()


def test_an_operation_says_whether_it_needs_a_token(documented: dict[str, Operation]) -> None:
    without = dict(operations(api(LOCAL)))
    assert without.keys() == documented.keys()
    for name, operation in documented.items():
        assert operation["security"] == ([] if name in OPEN else [{"token": []}])
        scopes = re.findall("The token needs the scope `(run|read|admin|webhooks)`", operation["description"])
        assert (len(scopes), "401" in operation["responses"]) == (name not in OPEN,) * 2
        assert any(status.startswith("4") for status in without[name]["responses"])
        assert without[name]["security"] == []
        assert not {"401", "403"} & without[name]["responses"].keys()


def test_no_parameter_is_a_list_or_null(apps: list[FastAPI]) -> None:
    """openapi-python-client leaves out an operation with a header that may be a list."""
    found = {
        (name, parameter["name"]): parameter["schema"].get("type") or parameter["schema"]["$ref"]
        for app in apps
        for name, operation in operations(app)
        for parameter in operation.get("parameters", [])
    }
    assert found[("POST /crewai/run", "Prefer")] == "string"
    assert found[("POST /crewai/run", "Idempotency-Key")] == "string"
    assert set(found.values()) == {"string", "integer", "boolean", "#/components/schemas/Status"}


@pytest.mark.parametrize(
    ("operation", "status", "headers"),
    [
        ("POST /crewai/run", "200", {"Location", "Preference-Applied"}),
        ("POST /crewai/run", "202", {"Location", "Preference-Applied", "Retry-After"}),
        ("POST /crewai/run", "502", {"Location"}),
        ("POST /crewai/run", "503", {"Retry-After"}),
        ("POST /crewai/run/async", "202", {"Location", "Retry-After"}),
        ("POST /crewai/run/async", "429", {"Retry-After"}),
        ("GET /crewai/status/{job_id}", "200", {"ETag", "Preference-Applied", "Retry-After"}),
        ("GET /crewai/status/{job_id}", "401", {"WWW-Authenticate"}),
    ],
)
def test_headers_are_documented(
    documented: dict[str, Operation], operation: str, status: str, headers: set[str]
) -> None:
    described = documented[operation]["responses"][status].get("headers", {})
    assert described.keys() == headers
    assert all(header["description"] and header["schema"]["type"] for header in described.values())


def test_the_problem_of_a_failed_run_has_its_job_and_its_error(apps: list[FastAPI]) -> None:
    for app in apps:
        schemas = app.openapi()["components"]["schemas"]
        answer = dict(operations(app))["POST /crewai/run"]["responses"]["502"]
        schema = schemas[answer["content"][MEDIA_TYPE]["schema"]["$ref"].rpartition("/")[2]]
        assert schema["properties"].keys() == schemas["Problem"]["properties"].keys() | {"job_id", "error"}


def test_every_documented_answer_has_a_schema(apps: list[FastAPI]) -> None:
    found = {
        (name, status): [content["schema"] for content in answer.get("content", {}).values()]
        for app in apps
        for name, operation in operations(app)
        for status, answer in operation["responses"].items()
        if status not in WITHOUT_BODY
    }
    assert {("POST /crewai/run/async", "202"), ("GET /crewai/status/{job_id}", "200")} <= found.keys()
    assert {("POST /crewai/run", "200"), ("POST /crewai/run", "202"), ("POST /crewai/run", "502")} <= found.keys()
    file = "GET /crewai/jobs/{job_id}/files/{number}"  # no JSON
    assert [key for key, schemas in found.items() if not any("$ref" in schema for schema in schemas)] == [
        (file, "200"),
        (file, "307"),
    ]


def test_every_schema_is_used_and_its_examples_keep_to_it(apps: list[FastAPI]) -> None:
    for app in apps:
        document = app.openapi()
        schemas = document["components"]["schemas"]
        used = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
        assert used == schemas.keys()
        examples = [(name, example) for name, schema in schemas.items() for example in schema.get("examples", [])]
        assert examples
        for name, example in examples:
            Draft202012Validator({"$ref": f"#/components/schemas/{name}", **document}).validate(example)


def test_an_answer_of_a_schema_is_not_a_string_besides(documented: dict[str, Operation]) -> None:
    """openapi-typescript makes a type of it that nothing is."""
    lines = documented["GET /crewai/batches/{batch_id}/results"]["responses"]["200"]["content"]["application/jsonl"]
    assert lines["schema"] == {"$ref": "#/components/schemas/BatchResult"}


def test_a_submission_leads_to_what_can_be_done_with_its_id(documented: dict[str, Operation]) -> None:
    of_one = {name: id_ for name, id_ in OPERATIONS.items() if name.count("{") == 1}
    of_batches = {id_ for name, id_ in of_one.items() if "{batch_id}" in name}
    of_jobs = {id_ for name, id_ in of_one.items() if "{job_id}" in name}
    assert {"status", "cancel", "events", "delete"} <= of_jobs
    for name, status, id_, expected in (
        ("POST /crewai/run", "200", "job_id", of_jobs),
        ("POST /crewai/run", "202", "job_id", of_jobs),
        ("POST /crewai/run/async", "202", "job_id", of_jobs),
        ("POST /crewai/run/batch", "202", "batch_id", of_batches),
    ):
        links = documented[name]["responses"][status]["links"]
        assert links.keys() == expected
        for operation_id, link in links.items():
            assert link == {"operationId": operation_id, "parameters": {id_: f"$response.body#/{id_}"}}


def test_what_cannot_stand_alone_has_no_documented_default(apps: list[FastAPI]) -> None:
    """openapi-python-client sends every default."""
    schemas = apps[0].openapi()["components"]["schemas"]
    found = [
        value
        for schema in schemas.values()
        for name, value in schema.get("properties", {}).items()
        if name.startswith("webhook_")
    ]
    assert found
    assert not any("default" in value for value in found)


def free_forms(schema: Any, name: str = "") -> Iterator[str]:
    """The names of what may be any object, or anything at all."""
    if not isinstance(schema, dict):
        return
    if (
        schema.get("type") == "object"
        and schema.get("additionalProperties") is not False
        and "properties" not in schema
    ):
        yield name
    for key in ("properties", "$defs"):
        for inner, value in schema.get(key, {}).items():
            yield from free_forms(value, inner)
            if not set(value) - {"title", "description", "default"}:
                yield inner
    for value in (schema.get("items"), *schema.get("anyOf", [])):
        yield from free_forms(value, name)


def test_no_schema_takes_or_gives_any_object_but_inputs(apps: list[FastAPI]) -> None:
    for app in apps:
        schemas = app.openapi()["components"]["schemas"]
        assert {name for schema in schemas.values() for name in free_forms(schema)} <= {"inputs", "upload_fields"}


def test_every_documented_error_is_a_problem_and_of_its_media_type(apps: list[FastAPI]) -> None:
    errors = {
        (name, status): {media: content["schema"]["$ref"] for media, content in answer["content"].items()}
        for app in apps
        for name, operation in operations(app)
        for status, answer in operation["responses"].items()
        if int(status) >= 400
    }
    assert errors
    for (name, status), contents in errors.items():
        schema = "RunProblem" if status == "502" else "Problem"
        assert contents == {MEDIA_TYPE: f"#/components/schemas/{schema}"}, name


@pytest.mark.parametrize(
    ("operation", "statuses"),
    [
        ("POST /crewai/run", {"200", "202", "400", "413", "415", "422", "429", "502", "503"}),
        ("POST /crewai/run/async", {"202", "400", "413", "415", "422", "429", "503"}),
        ("GET /crewai/status/{job_id}", {"200", "304", "404", "422", "503"}),
        ("GET /crewai/jobs", {"200", "404", "422", "503"}),
        ("POST /crewai/run/batch", {"202", "400", "413", "415", "422", "429", "503"}),
        ("POST /crewai/batches", {"201", "400", "413", "415", "422", "429", "503"}),
        ("GET /crewai/batches/{batch_id}/results", {"200", "404", "503"}),
        ("GET /crewai/jobs/{job_id}/calls", {"200", "404", "422", "503"}),
        ("GET /crewai/jobs/{job_id}/files/{number}", {"200", "307", "404", "422", "503"}),
        ("POST /crewai/jobs/{job_id}/cancel", {"200", "404", "409", "503"}),
        ("DELETE /crewai/jobs/{job_id}", {"204", "404", "409", "503"}),
        ("POST /crewai/jobs/{job_id}/retry", {"200", "404", "409", "503"}),
    ],
)
def test_what_may_be_answered_is_documented(
    documented: dict[str, Operation], operation: str, statuses: set[str]
) -> None:
    assert statuses <= documented[operation]["responses"].keys()
