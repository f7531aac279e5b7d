"""The README's three calls, as its reader sends them, and what may go wrong in them."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS
from tests.e2e.stacks import ScriptedStack
from tests.support.stack import RunningStack
from tests.support.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}


def finished(client: httpx.Client, job_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = client.get(f"/crewai/status/{job_id}").raise_for_status().json()
        return job if job["status"] in ("completed", "failed", "cancelled") else None

    return wait_until(ended, within=20)


def assert_quotes_the_corpus(sources: list[dict[str, Any]]) -> None:
    for source in sources:
        page = (SHIPPED_CORPUS / Path(source["id"].partition("#")[0] + ".txt")).read_text()
        assert source["excerpt"] in page
        assert source["excerpt"] in source["text"]
        assert all(block.removeprefix("## ") in page for block in source["text"].split("\n\n"))


def test_sync_run_answers_with_cited_sources(stack: RunningStack) -> None:
    response = stack.client.post("/crewai/run", json=EXAMPLE)
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"job_id", "status", "answer", "result", "sources", "answerable", "unknown_citations", "usage"}
    assert body["result"] == body["answer"]
    assert body["status"] == "completed"
    assert [source["number"] for source in body["sources"]] == list(range(1, len(body["sources"]) + 1))
    assert len(body["sources"]) >= 2
    assert all(f"[{source['number']}]" in body["answer"] for source in body["sources"])
    assert_quotes_the_corpus(body["sources"])
    assert body["usage"]["model"] == "crewrelay/extractive"


def test_async_run_is_accepted_then_completed_by_the_worker(stack: RunningStack) -> None:
    response = stack.client.post("/crewai/run/async", json=EXAMPLE)
    assert response.status_code == 202
    job_id = response.json()["job_id"]
    url = f"{stack.url}/crewai/status/{job_id}"
    assert response.json() == {"job_id": job_id, "status": "pending", "status_url": url}
    assert response.headers["Location"] == f"/crewai/status/{job_id}"
    inline = stack.client.post("/crewai/run", json=EXAMPLE, headers={"Prefer": "respond-async"}).json()
    assert httpx.get(inline["status_url"]).json()["job_id"] == inline["job_id"]  # by way of a crew process
    job = finished(stack.client, job_id)
    assert job["status"] == "completed"
    assert "neural network" in job["result"]
    assert len(job["sources"]) >= 2
    assert_quotes_the_corpus(job["sources"])
    assert job["attempts"] == 1
    assert job["inputs"] == EXAMPLE


def test_the_inline_job_can_be_looked_up_afterwards(stack: RunningStack) -> None:
    inline = stack.client.post("/crewai/run", json=EXAMPLE)
    job = stack.client.get(inline.headers["Location"]).json()
    assert job["status"] == "completed"
    assert job["result"] == inline.json()["answer"]


@pytest.mark.parametrize(("language", "said"), [("de", "Wörtlich zitiert"), ("es", "Citado literalmente")])
def test_the_answer_speaks_the_asked_language_where_the_model_speaks_at_all(
    stack: RunningStack, language: str, said: str
) -> None:
    body = stack.client.post("/crewai/run", json={"topic": "neural networks", "language": language}).json()
    assert body["answer"].startswith("A neural network is a mathematical function")
    assert body["answer"].splitlines()[-1].startswith(f"(crewrelay/extractive: {said}")
    assert body["sources"]


@pytest.mark.parametrize("path", ["/crewai/run", "/crewai/run/async"])
def test_bad_input_is_a_problem_on_both_roads(stack: RunningStack, path: str) -> None:
    response = stack.client.post(path, json={"topic": "x", "language": "english"})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "urn:crewrelay:problem:invalid_request"
    assert response.json()["errors"][0]["field"] == "language"


def test_docs_and_health(stack: RunningStack) -> None:
    assert stack.client.get("/health").json()["status"] == "ok"
    assert "/openapi.json" in stack.client.get("/docs").text
    assert "/crewai/run/async" in stack.client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("path", ["/crewai/run", "/crewai/run/async"])
def test_a_body_of_megabytes_is_refused_before_it_is_read(stack: RunningStack, path: str) -> None:
    response = stack.client.post(path, content=b'{"topic": "' + b"x" * 5_000_000, headers={"content-type": "text/json"})
    assert response.status_code == 413
    assert response.json()["type"] == "urn:crewrelay:problem:body_too_large"


def test_a_client_can_not_set_the_gateways_clock(stack: RunningStack) -> None:
    headers = {"X-Crewrelay-Received-At": "0"}  # 1970: a deadline long past
    assert stack.client.post("/crewai/run", json=EXAMPLE, headers=headers).status_code == 200


def test_what_the_gateway_passes_on_says_everything_once(stack: RunningStack) -> None:
    headers = stack.client.post("/crewai/run", json=EXAMPLE).headers
    assert [name for name in headers if len(headers.get_list(name)) > 1] == []


def test_two_stacks_run_side_by_side(stack: RunningStack, hasty: ScriptedStack) -> None:
    assert stack.client.post("/crewai/run", json=EXAMPLE).status_code == 200
    location = hasty.stack.client.post("/crewai/run/async", json=EXAMPLE).raise_for_status().headers["Location"]
    assert hasty.stack.client.get(location).status_code == 200
    assert stack.client.get(location).status_code == 404
