"""OpenAI's Responses: jobs in the words of its clients, in windows that any process continues."""

import json
import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.http.edge import Handler, lambda_handler
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.records.answer import Answer, Source, Usage
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.questions import AnswerNeeded
from tests.support.aws_events import rest_event, text_of
from tests.support.fixtures import Storage
from tests.support.http_apps import (
    ANSWER,
    LOCAL,
    QUESTION,
    QUESTION_ID,
    ScriptedCrew,
    anybody,
    api_app,
    assert_untouched,
)
from tests.support.openai import ASKED, streamed, work
from tests.support.waiting import wait_until

BEGINNING = ["response.created", "response.queued", "response.in_progress"]
ANSWERED = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.annotation.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


@pytest.fixture
def client(storage: Storage) -> TestClient:
    """Whose requests wait for nothing."""
    return TestClient(api_app(storage, timeout=0), raise_server_exceptions=False)


def create(client: TestClient, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/responses", json={**ASKED, "background": True, **more})
    assert answer.status_code == 200, answer.text
    response: dict[str, Any] = answer.json()
    return response


def error_of(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["status"] == status
    error: dict[str, Any] = problem["error"]
    return error


def test_one_in_the_background_is_queued_and_then_completed(client: TestClient, storage: Storage) -> None:
    response = create(client)
    assert (response["object"], response["status"], response["background"]) == ("response", "queued", True)
    assert (response["model"], response["metadata"], response["output"]) == ("research", {"language": "en"}, [])
    (job_id,) = work(storage)
    assert response["id"] == f"resp_{job_id.replace('-', '')}"
    done = client.get(f"/v1/responses/{response['id']}").json()
    assert (done["status"], done["error"]) == ("completed", None)
    assert [done["usage"][f"{name}_tokens"] for name in ("input", "output", "total")] == [20, 5, 25]
    (message,) = done["output"]
    (part,) = message["content"]
    (cited,) = part["annotations"]
    assert part["text"] == ANSWER.text
    assert (cited["type"], cited["url"], cited["title"]) == ("url_citation", "https://example.org/n", "Networks")
    assert part["text"][cited["start_index"] : cited["end_index"]] == "[1]"
    assert {**done, "status": 0, "output": 0, "usage": 0, "completed_at": 0} == {
        **response, "status": 0, "output": 0, "usage": 0, "completed_at": 0
    }  # fmt: skip


def test_each_number_in_the_text_leads_to_its_source(client: TestClient, storage: Storage) -> None:
    sources = tuple(
        Source(number=number, id=f"p{number}", title=f"T{number}", url=f"https://example.org/{number}", text="…")
        for number in (1, 2)
    )
    text = "Wörter 𝄞 [2], x[0] y [3], then [1][2]."
    answer = Answer(text=text, sources=sources, answerable=True, usage=Usage(model="one", calls=1))
    response = create(client)
    work(storage, ScriptedCrew(lambda _: answer))
    (part,) = client.get(f"/v1/responses/{response['id']}").json()["output"][0]["content"]
    found = [(text[each["start_index"] : each["end_index"]], each["title"]) for each in part["annotations"]]
    assert found == [("[2]", "T2"), ("[1]", "T1"), ("[2]", "T2")]


def test_one_that_waits_is_answered_when_the_crew_is_done(storage: Storage) -> None:
    client = TestClient(api_app(storage, timeout=20))
    worker = threading.Thread(target=lambda: wait_until(lambda: work(storage), within=20))
    worker.start()
    done = client.post("/v1/responses", json=ASKED).json()
    worker.join(20)
    assert (done["status"], done["output"][0]["content"][0]["text"]) == ("completed", ANSWER.text)


def test_one_that_is_not_done_in_time_is_refused_and_its_repetition_finds_the_job(
    client: TestClient, storage: Storage
) -> None:
    answer = client.post("/v1/responses", json=ASKED)
    error = error_of(answer, 503)
    assert (error["type"], error["code"]) == ("server_error", "still_running")
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")
    (job_id,) = work(storage)
    assert job_id.replace("-", "") in error["message"]
    again = client.post("/v1/responses", json=ASKED, headers={"x-stainless-retry-count": "1"})
    assert again.json()["id"] == f"resp_{job_id.replace('-', '')}"
    assert work(storage) == []


def test_a_stream_has_the_same_numbers_for_every_reader(client: TestClient, storage: Storage) -> None:
    begun = client.post("/v1/responses", json={**ASKED, "background": True, "stream": True})
    assert begun.headers["content-type"].startswith("text/event-stream")
    first = streamed(begun.text)
    assert [event["type"] for event in first] == BEGINNING[:2]
    work(storage)
    path = f"/v1/responses/{first[0]['response']['id']}"
    other = TestClient(api_app(storage))  # another process
    whole = streamed(other.get(path, params={"stream": "true"}).text)
    assert [event["type"] for event in whole] == BEGINNING + ANSWERED
    assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
    assert whole[:2] == first
    assert whole[-1]["response"] == client.get(path).json()
    for after in range(len(whole)):
        rest = client.get(path, params={"stream": "true", "starting_after": after})
        assert streamed(rest.text) == whole[after + 1 :]
    assert streamed(client.post("/v1/responses", json={**ASKED, "stream": True}).text) == whole


def test_a_failure_that_was_retried_keeps_its_number(client: TestClient, storage: Storage) -> None:
    def broken(_: JobInput) -> Answer:
        raise InvalidCrew("It is broken.")

    path = f"/v1/responses/{create(client)['id']}"
    (job_id,) = work(storage, ScriptedCrew(broken))
    failed = streamed(client.get(path, params={"stream": "true"}).text)
    assert [event["type"] for event in failed] == [*BEGINNING, "response.failed"]
    assert failed[-1]["response"]["status"] == "failed"
    assert "It is broken." in failed[-1]["response"]["error"]["message"]
    assert client.post(f"/crewai/jobs/{job_id}/retry").status_code == 200
    work(storage)
    rest = streamed(client.get(path, params={"stream": "true", "starting_after": 3}).text)
    assert [event["type"] for event in rest] == ["response.in_progress", *ANSWERED]
    whole = streamed(client.get(path, params={"stream": "true"}).text)
    assert whole[3]["type"] == "response.queued"
    assert whole[4:] == rest


def test_a_failed_crew_is_an_error_that_no_repetition_mends(client: TestClient, storage: Storage) -> None:
    def broken(_: JobInput) -> Answer:
        raise InvalidCrew("It is broken.")

    client.post("/v1/responses", json=ASKED)
    work(storage, ScriptedCrew(broken))
    answer = client.post("/v1/responses", json=ASKED, headers={"x-stainless-retry-count": "1"})
    assert error_of(answer, 502)["code"] == "run_failed"
    assert "It is broken." in answer.json()["detail"]
    assert answer.headers["x-should-retry"] == "false"
    afresh = client.post("/v1/responses", json=ASKED)  # the user asks again
    assert error_of(afresh, 503)["code"] == "still_running"
    assert len(work(storage)) == 1
    assert client.post("/v1/responses", json=ASKED).json()["status"] == "completed"


def test_cancel_delete_and_what_was_asked(client: TestClient, storage: Storage) -> None:
    path = f"/v1/responses/{create(client)['id']}"
    items = client.get(f"{path}/input_items").json()
    assert items["data"][0]["content"] == [{"type": "input_text", "text": "neural networks"}]
    for _ in range(2):
        assert client.post(f"{path}/cancel").json()["status"] == "cancelled"
    told = streamed(client.get(path, params={"stream": "true"}).text)
    assert (told[-1]["type"], told[-1]["response"]["status"]) == ("response.failed", "cancelled")
    assert client.delete(path).json()["deleted"] is True
    assert error_of(client.get(path), 404)["code"] == "unknown_job"
    assert create(client)["status"] == "queued"
    work(storage)
    assert client.post(f"{path}/cancel").json()["status"] == "completed"  # the same job: its key was free again
    assert error_of(client.delete("/v1/responses/resp_x"), 404)["type"] == "invalid_request_error"


def test_deleting_an_unfinished_one_cancels_it(client: TestClient, storage: Storage) -> None:
    assert client.delete(f"/v1/responses/{create(client)['id']}").status_code == 200
    assert [row for row in storage.rows() if row["sk"]["S"] == "JOB"] == []


def test_the_question_to_a_human_is_told(client: TestClient, storage: Storage) -> None:
    def asks(_: JobInput) -> Answer:
        raise AnswerNeeded(QUESTION_ID, QUESTION)

    path = f"/v1/responses/{create(client)['id']}"
    work(storage, ScriptedCrew(asks))
    response = client.get(path).json()
    assert (response["status"], response["waiting"]["message"]) == ("in_progress", "Is it good?")
    told = streamed(client.get(path, params={"stream": "true"}).text)
    assert [event["type"] for event in told] == [*BEGINNING, "response.in_progress"]
    assert told[-1]["response"]["waiting"]["options"] == ["yes", "no"]
    answer = client.post("/v1/responses", json=ASKED)
    assert error_of(answer, 422)["code"] == "answer_awaited"
    assert answer.headers["x-should-retry"] == "false"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": "gpt-5"}, "model"),
    ({"input": ""}, "input"),
    ({"input": None}, "input"),
    ({"input": "a\x00b"}, "input"),
    ({"input": "x" * 3000}, "input"),
    ({"input": []}, "input"),
    ({"input": [{"role": "assistant", "content": "hello"}]}, "input"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]}, "input"),
    ({"input": [{"role": "user", "content": [{"type": "input_text", "text": 10**400}]}]}, "input"),
    ({"input": {"role": "user"}}, "input"),
    ({"metadata": {}}, "metadata.language"),
    ({"metadata": {"language": "english"}}, "metadata.language"),
    ({"metadata": {"language": "en", "user": "u1"}}, "metadata.user"),
    ({"metadata": {"language": "en", "topic": "another"}}, "metadata.topic"),
    ({"metadata": "en"}, "metadata"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": {"id": "conv_1"}}, "conversation"),
    ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format"),
    ({"stream": {}}, "stream"),
]


def test_what_a_crew_can_not_do_is_told_and_writes_nothing(client: TestClient, storage: Storage) -> None:
    for change, param in REFUSED:
        error = error_of(client.post("/v1/responses", json={**ASKED, **change}), 422)
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_request", param)
    assert_untouched(storage)


def test_a_hostile_body_is_refused(client: TestClient, storage: Storage) -> None:
    huge = b'{"model": ' + b"9" * 5000 + b"}"
    for body in (b"", b"{", b"[]", b"null", b'{"model": "research"}', b"[" * 100_000, huge, b"\xff"):
        for path in ("/v1/responses", "/v1/chat/completions"):
            answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 422), answer.text
            assert answer.json()["error"]["message"]
    assert_untouched(storage)


def test_what_means_nothing_to_a_crew_is_ignored(client: TestClient) -> None:
    fields = {
        "instructions": "Be brief.", "temperature": 0.2, "tools": [], "store": False, "user": None, "new_one": {"a": 1},
        "previous_response_id": None, "text": {"format": {"type": "text"}}, "include": ["x"], "stream": None,
        "input": [
            {"role": "developer", "content": "Be brief."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "neural networks"}]},
        ],
    }  # fmt: skip
    response = create(client, **fields)
    assert (response["instructions"], response["store"]) == (None, True)
    assert response["id"] == create(client, model="crew/research")["id"]


def test_a_key_makes_another_job_and_one_input_has_one_key(client: TestClient) -> None:
    first = create(client)["id"]
    keyed = [
        client.post("/v1/responses", json={**ASKED, "background": True}, headers={"Idempotency-Key": key}).json()["id"]
        for key in ("a", "a", "b")
    ]
    assert keyed[0] == keyed[1]
    assert len({first, *keyed}) == 3
    conflict = client.post("/v1/responses", json={**ASKED, "input": "else"}, headers={"Idempotency-Key": "a"})
    assert error_of(conflict, 422)["code"] == "idempotency_conflict"


def test_tenants_and_scopes(storage: Storage) -> None:
    path = f"/v1/responses/{create(TestClient(api_app(storage, timeout=0)))['id']}"
    unknown = "/v1/responses/resp_" + "0" * 32
    zoo = TestClient(api_app(storage, anonymous=anybody("zoo"), timeout=0))
    calls = [("GET", ""), ("GET", "?stream=true"), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")]
    for method, rest in calls:
        theirs, nobodys = zoo.request(method, path + rest), zoo.request(method, unknown + rest)
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.json()["error"]["code"] == nobodys.json()["error"]["code"]
    assert create(zoo)["id"] not in path
    needed = {
        Scope.RUN: [("POST", "/v1/responses"), ("POST", "/v1/chat/completions")],
        Scope.READ: [("GET", path), ("GET", f"{path}/input_items"), ("GET", "/v1/models")],
        Scope.ADMIN: [("POST", f"{path}/cancel"), ("DELETE", path)],
    }
    for scope, operations in needed.items():
        caller = Caller(tenant="local", scopes=frozenset(Scope) - {scope})
        client = TestClient(api_app(storage, anonymous=caller))
        for method, url in operations:
            assert error_of(client.request(method, url, json=ASKED), 403)["type"] == "permission_error"


def test_cancelling_shows_no_answer_to_who_may_not_read_it(client: TestClient, storage: Storage) -> None:
    path = f"/v1/responses/{create(client)['id']}"
    work(storage)
    canceller = Caller(tenant="local", scopes=frozenset({Scope.ADMIN}))
    answer = TestClient(api_app(storage, anonymous=canceller)).post(f"{path}/cancel")
    assert 'scope="read"' in answer.headers["www-authenticate"]
    assert error_of(answer, 403)["type"] == "permission_error"
    assert client.post(f"{path}/cancel").json()["output"]


def test_the_limit_of_unfinished_jobs(storage: Storage) -> None:
    client = TestClient(api_app(storage, most_unfinished=1, timeout=0))
    create(client)
    create(client)  # a repetition adds no job
    answer = client.post("/v1/responses", json={**ASKED, "input": "another"})
    assert error_of(answer, 429)["type"] == "rate_limit_error"
    assert answer.headers["retry-after"]


def test_models_are_crews(client: TestClient) -> None:
    models = client.get("/v1/models").json()
    assert {"id": "research", "object": "model", "created": 0, "owned_by": "crewrelay"} in models["data"]
    assert client.get("/v1/models/crew/research").json()["id"] == "research"
    assert error_of(client.get("/v1/models/gpt-5"), 422)["param"] == "model"
    assert error_of(client.get("/v1/assistants"), 404)["code"] == "no_such_path"


def asked_of(handler: Handler, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
    event = rest_event(method, path, json.dumps(body) if body else None)
    event["queryStringParameters"] = query or None
    event["multiValueQueryStringParameters"] = {name: [value] for name, value in query.items()} or None
    answer = handler(event, _CONTEXT)
    return answer


_CONTEXT = object()


def test_through_lambda_a_stream_comes_in_windows(storage: Storage, main_loop: None, monkeypatch: Any) -> None:
    """Each has what is there, and one of a large answer ends before the function's limit."""
    monkeypatch.setattr("crewrelay.http.protocols.openai.responses.LARGEST_WINDOW", 2000)
    handler = lambda_handler(api_app(storage, anonymous=LOCAL, timeout=0))
    first = asked_of(handler, "POST", "/v1/responses", {**ASKED, "background": True, "stream": True})
    events = streamed(text_of(first))
    assert first["headers"]["content-type"].startswith("text/event-stream")
    work(storage)
    path, windows = f"/v1/responses/{events[0]['response']['id']}", 1
    while events[-1]["type"] != "response.completed":
        after = str(events[-1]["sequence_number"])
        window = asked_of(handler, "GET", path, stream="true", starting_after=after)
        events += streamed(text_of(window))
        windows += 1
    assert [event["type"] for event in events] == BEGINNING + ANSWERED
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert windows > 2
