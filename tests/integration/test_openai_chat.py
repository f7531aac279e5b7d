"""Chat completions, which can't hand over: a client's repetitions find the job, later questions start another."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import ANSWER, anybody, api_app
from tests.support.openai import ASKED, CHAT, work


@pytest.fixture
def client(storage: Storage) -> TestClient:
    return TestClient(api_app(storage, timeout=0), raise_server_exceptions=False)


def jobs(storage: Storage) -> int:
    return sum(row["sk"]["S"] == "JOB" for row in storage.rows())


def test_the_repetition_of_a_request_has_the_answer(client: TestClient, storage: Storage) -> None:
    for count in range(3):
        answer = client.post("/v1/chat/completions", json=CHAT, headers={"x-stainless-retry-count": str(count)})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "still_running")
    work(storage)
    done = client.post("/v1/chat/completions", json=CHAT).json()
    assert jobs(storage) == 1
    assert (done["object"], done["model"]) == ("chat.completion", "research")
    (choice,) = done["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (ANSWER.text, "stop")
    (cited,) = choice["message"]["annotations"]
    assert (cited["type"], cited["url_citation"]["url"]) == ("url_citation", "https://example.org/n")
    assert done["usage"] == {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    told = client.post("/v1/chat/completions", json=asked)
    assert told.text.endswith("data: [DONE]\n\n")
    first, end, usage = (line.removeprefix("data: ") for line in told.text.split("\n\n")[:3])
    assert (ANSWER.text in first, '"finish_reason": "stop"' in end, '"prompt_tokens": 20' in usage) == (True,) * 3
    assert jobs(storage) == 1


def test_the_last_message_of_the_user_is_the_text(client: TestClient, storage: Storage) -> None:
    client.post("/v1/chat/completions", json=CHAT)
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "sqlite"},
        {"role": "assistant", "content": "A database.", "tool_calls": None},
        {"role": "user", "content": [{"type": "text", "text": "neural networks"}]},
    ]
    client.post("/v1/chat/completions", json={**CHAT, "messages": turns})
    assert jobs(storage) == 1


def test_the_same_question_is_a_new_job_minutes_after_the_end_of_the_last(
    storage: Storage, clock: HandSetClock
) -> None:
    client = TestClient(api_app(storage, clock, timeout=0))

    def asked() -> str:
        response: dict[str, Any] = client.post("/v1/responses", json={**ASKED, "background": True}).json()
        return str(response["id"])

    first = asked()
    for minutes in (9, 9, 9):  # over the edges of what the keys count
        clock.pass_(minutes=minutes)
        assert asked() == first
    client.post(f"/v1/responses/{first}/cancel")
    second = asked()
    assert second != first
    clock.pass_(minutes=2)
    assert asked() == second
    assert jobs(storage) == 2
    clock.pass_(minutes=20)  # long after the end of the first
    assert asked() == second
    work(storage, clock=clock)
    clock.pass_(minutes=9)
    assert asked() == second
    clock.pass_(minutes=2)
    third = asked()
    assert third not in (first, second)
    clock.pass_(hours=24)
    assert asked() not in (first, second, third)


def test_a_repetition_is_joined_by_a_process_whose_clock_is_behind(storage: Storage, clock: HandSetClock) -> None:
    clock.now = clock.now.replace(minute=10, second=0)  # where what the keys count changes
    client = TestClient(api_app(storage, clock, timeout=0))
    client.post("/v1/chat/completions", json=CHAT)
    clock.pass_(seconds=-1)
    client.post("/v1/chat/completions", json=CHAT)
    assert jobs(storage) == 1


def test_each_call_after_a_cancelled_one_is_a_new_job(client: TestClient, storage: Storage) -> None:
    for number in range(13):
        response = client.post("/v1/responses", json={**ASKED, "background": True}).json()
        assert jobs(storage) == number + 1
        client.post(f"/v1/responses/{response['id']}/cancel")


def test_tenants_and_crews_inputs_are_not_joined(client: TestClient, storage: Storage) -> None:
    zoo = TestClient(api_app(storage, anonymous=anybody("zoo"), timeout=0))
    for each in (client, zoo):
        each.post("/v1/chat/completions", json=CHAT)
        each.post("/v1/chat/completions", json={**CHAT, "metadata": {"language": "de"}})
    assert jobs(storage) == 4


def test_what_a_crew_can_not_do_is_told(client: TestClient, storage: Storage) -> None:
    for change, param in (
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": [None, 1, []]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"messages": [{"role": "system", "content": 1}, {"role": "user", "content": "x"}]}, "messages"),
        ({"metadata": None}, "metadata.language"),
    ):
        answer = client.post("/v1/chat/completions", json={**CHAT, **change})
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)
    assert jobs(storage) == 0
    plain = {"n": 1, "response_format": {"type": "text"}, "max_tokens": 5, "user": "u", "tools": None}
    assert client.post("/v1/chat/completions", json={**CHAT, **plain}).status_code == 503
