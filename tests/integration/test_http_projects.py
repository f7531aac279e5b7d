"""Projects of CrewAI's own over HTTP: listed with their inputs, run inline and by a worker, as any crew."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from crewai import LLM
from starlette.testclient import TestClient

from crewrelay.aws.polling import Polling
from crewrelay.catalogue.catalogue import catalogue
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.http.api import create_api
from crewrelay.http.long_poll import LongPoll
from crewrelay.http.services import Services
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import File
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.system import utcnow
from tests.support.crews import OwnCrews, Shelf
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import anybody, api_app, assert_problem, execution_of, run_app
from tests.support.projects import classic, create, declared_flow, edit, flow, json_crew
from tests.support.stored_jobs import ANSWER, claimed, submitted

CLASSIC = {"crew": "storms", "inputs": {"topic": "rain", "current_year": "2026"}}
JSON = {"crew": "seasons", "inputs": {"reader": "experts"}}
FLOW = {"crew": "currents", "inputs": {"topic": "rain", "readers": [{"name": "Ann", "age": None}]}}
DECLARED = {"crew": "tides", "inputs": {"topic": "rain", "readers": [{"name": "Ann"}]}}
FORMS = pytest.mark.parametrize("body", [CLASSIC, JSON, FLOW, DECLARED], ids=["classic", "JSON", "flow", "declared"])


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    classic(folder, "storms")
    json_crew(folder, "seasons")
    flow(folder, "currents")
    declared_flow(folder, "tides")
    create(folder, "drifts", "flow")
    edit(
        folder / "drifts/pyproject.toml",
        ("[tool.crewai]", "[tool.crewrelay]\nflow = 'drifts.main:Gone'\n\n[tool.crewai]"),
    )
    return folder


@pytest.fixture
def server(projects: Path, own_crews: OwnCrews, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """Crews of YAML and projects in one folder, and the model of all."""
    for project in projects.iterdir():
        (own_crews.folder / project.name).symlink_to(project)
    own_crews.put()
    catalogue.cache_clear()
    with openai_server() as server:
        for name, value in {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none"}.items():
            monkeypatch.setenv(name, value)
        yield server


def runner() -> Any:
    return CrewRunner(lambda *_: LLM(model="gpt-4o-mini", provider="openai"), Shelf())


def test_projects_are_listed_beside_crews_of_yaml(storage: Storage, server: OpenAIServer) -> None:
    """One that can't run is listed with its fault, and the others work."""
    listed = {crew["name"]: crew for crew in TestClient(api_app(storage)).get("/crewai/crews").json()["crews"]}
    assert list(listed) == ["currents", "drifts", "research", "seasons", "storms", "tales", "tides"]
    assert listed["storms"]["inputs"]["required"] == ["topic", "current_year"]
    assert listed["seasons"]["inputs"]["properties"]["year"]["default"] == 2026
    assert "none that is named drifts.main:Gone" in listed["drifts"]["fault"]
    assert {name: crew["fault"] for name, crew in listed.items() if name != "drifts"} == dict.fromkeys(
        {*listed} - {"drifts"}
    )
    assert {name: listed[name]["kind"] for name in ("currents", "tides", "storms")} == {
        "currents": "flow",
        "tides": "flow",
        "storms": "crew",
    }
    assert listed["currents"]["inputs"]["properties"]["readers"]["items"]["required"] == ["name"]


@FORMS
def test_a_project_runs_inline(storage: Storage, server: OpenAIServer, body: dict[str, Any]) -> None:
    answered = TestClient(run_app(storage, runner())).post("/crewai/run", json=body)
    assert answered.status_code == 200, answered.text
    assert "Ulm" in answered.json()["answer"] or body is FLOW
    assert answered.json()["usage"]["calls"] == len(server.asked)


@FORMS
def test_a_project_runs_by_a_worker(storage: Storage, server: OpenAIServer, body: dict[str, Any]) -> None:
    client = TestClient(api_app(storage))
    where = client.post("/crewai/run/async", json=body).headers["location"]
    execution_of(storage, runner()).run(where.rpartition("/")[2], utcnow() + timedelta(minutes=1))
    status = client.get(where).json()
    assert status["status"] == "completed", status
    assert "Ulm" in status["result"] or body is FLOW
    assert status["inputs"].items() >= body["inputs"].items()
    assert status["receipt"]["calls_paid"] == len(server.asked)


def test_the_output_files_of_a_project_are_in_its_answer(storage: Storage, server: OpenAIServer) -> None:
    """On AWS the URL redirects to the bucket."""
    answered = TestClient(run_app(storage, runner())).post("/crewai/run", json=CLASSIC).json()
    api = TestClient(api_app(storage))
    status = api.get(f"/crewai/status/{answered['job_id']}").json()
    assert status["files"] == answered["files"]
    (file,) = status["files"]
    assert (file["name"], file["url"]) == (
        "report.md",
        f"http://testserver/crewai/jobs/{answered['job_id']}/files/1",
    )
    there = api.get(file["url"], follow_redirects=False)
    assert there.status_code == 307
    fetched = httpx.get(there.headers["location"])
    assert fetched.text == answered["answer"]
    assert len(fetched.content) == file["size"]
    assert fetched.headers["content-disposition"] == "attachment; filename*=UTF-8''report.md"
    assert fetched.headers["content-type"] == "application/octet-stream"
    for number in (2, 99):
        assert_problem(api.get(f"/crewai/jobs/{answered['job_id']}/files/{number}"), 404, "unknown_file")


def test_on_one_machine_a_file_is_in_the_answer_itself(database: Database, clock: HandSetClock) -> None:
    store = SqliteJobStore(database, clock)
    job = claimed(store, submitted(store, clock), clock)
    large = File(name="b", size=11_000_000)
    file = File(name="out/a.html", size=4, digest="d", content=b"<b>\xff")
    store.put_file(job, file)
    store.put_answer(job, ANSWER.model_copy(update={"files": (file, large)}))
    store.save(job, transitions.complete(job, clock()))
    nothing = cast(Any, None)
    api = TestClient(
        create_api(
            Services(nothing, nothing, store, nothing, LongPoll(Polling(), clock, timedelta()), nothing, nothing),
            anybody(job.tenant),
        )
    )
    first, second = api.get(f"/crewai/status/{job.id}").json()["files"]
    there = api.get(first["url"])
    assert (there.content, there.headers["content-type"]) == (b"<b>\xff", "application/octet-stream")
    assert there.headers["content-disposition"] == "attachment; filename*=UTF-8''a.html"
    assert there.headers["x-content-type-options"] == "nosniff"
    assert second == {"name": "b", "size": 11_000_000, "url": None}
    assert_problem(api.get(f"/crewai/jobs/{job.id}/files/2"), 404, "unknown_file")


def test_a_project_takes_its_own_inputs_only(storage: Storage, server: OpenAIServer) -> None:
    client = TestClient(api_app(storage))
    for inputs, field in (({"topic": "rain"}, "inputs.current_year"), ({**CLASSIC["inputs"], "no": 1}, "inputs.no")):  # type: ignore[dict-item]
        body = {"crew": "storms", "inputs": inputs}
        problem = assert_problem(client.post("/crewai/run/async", json=body), 422, "invalid_request")
        assert [error["field"] for error in problem["errors"]] == [field]


def test_a_project_that_can_not_be_read_is_refused_when_it_is_asked_for(storage: Storage, server: OpenAIServer) -> None:
    client = TestClient(api_app(storage), raise_server_exceptions=False)
    body = {"crew": "drifts", "inputs": {}}
    problem = assert_problem(client.post("/crewai/run/async", json=body), 500, "invalid_crew")
    assert "named drifts.main:Gone" in problem["detail"]


def test_nested_inputs_are_refused_by_the_place_of_the_fault(storage: Storage, server: OpenAIServer) -> None:
    body = {"crew": "currents", "inputs": {"readers": [{"name": "Ann"}, {"age": "old", "more": 1}]}}
    problem = assert_problem(TestClient(api_app(storage)).post("/crewai/run/async", json=body), 422, "invalid_request")
    assert {error["field"] for error in problem["errors"]} >= {
        "inputs.readers.1.name",
        "inputs.readers.1.more",
    }
