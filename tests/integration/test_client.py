"""A caller of a deployment whose answers get lost: what it repeats, and what it doesn't."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from crewrelay.cli.api.client import Client, Refused
from crewrelay.cli.jobs.follow import follow
from tests.support.scripted_api import ScriptedApi, scripted_api


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with scripted_api() as api:
        yield api


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def deployment(api: ScriptedApi, pauses: list[float]) -> Iterator[Client]:
    with closing(Client(api.url, "a token", pauses.append)) as deployment:
        yield deployment


PROBLEM = {"detail": "The table did not answer.", "remedy": "Send it again."}


def test_a_submission_whose_answer_was_lost_is_repeated_under_its_key(
    api: ScriptedApi, deployment: Client, pauses: list[float]
) -> None:
    api.script = [None, (503, PROBLEM), (202, {"job_id": "an-id"})]
    assert deployment.submit({"topic": "rain"}) == {"job_id": "an-id"}
    (key,) = {key for _, _, key in api.asked}
    assert key
    assert [path for _, path, _ in api.asked] == ["/prod/crewai/run/async"] * 3
    assert pauses == [1, 2]


def test_it_gives_up_with_what_it_was_told(api: ScriptedApi, deployment: Client) -> None:
    api.script = [(503, PROBLEM)] * 4
    with pytest.raises(Refused, match=r"The table did not answer\. Send it again\."):
        deployment.submit({})
    assert len(api.asked) == 4


@pytest.mark.parametrize("ask", [Client.cancel, Client.retry, Client.status])
def test_what_a_person_asked_for_is_asked_once(api: ScriptedApi, deployment: Client, ask: Any) -> None:
    api.script = [None]
    with pytest.raises(Refused, match="did not answer"):
        ask(deployment, "an-id")
    assert len(api.asked) == 1


def page(status: str, first: int, *events: dict[str, Any]) -> tuple[int, Any]:
    """Of a job's events, each a second after the one before."""
    numbered = [
        {"number": number, "at": f"2026-01-02T03:04:{number % 60:02}Z"} | event
        for number, event in enumerate(events, first)
    ]
    return 200, {"status": status, "events": numbered}


MODEL: dict[str, Any] = {
    "event": "call",
    "kind": "model",
    "model": "some/one",
    "prompt_tokens": 20,
    "completion_tokens": 3,
}


def test_who_follows_a_job_hears_each_event_once_though_an_answer_was_lost(
    api: ScriptedApi, deployment: Client
) -> None:
    task = {"event": "task_started", "task": 1, "of": 2, "name": "find", "agent": "Finder"}
    paid: list[dict[str, Any]] = [
        MODEL | {"cost_usd": 0.25},
        {"event": "call", "kind": "tool"},
        MODEL | {"cost_usd": 0.5},
    ]
    api.script = [
        page("pending", 1, {"event": "submitted"}),
        page("pending", 2),
        None,
        page("running", 2, {"event": "claimed", "fence": 1}, task),
        page("completed", 4, *paid, {"event": "completed"}),
    ]
    *_, running, last = follow(deployment, "an-id")
    assert (running.task, running.tasks, running.name, running.agent, running.calls) == (1, 2, "find", "Finder", 0)
    assert [event["event"] for event in running.news] == ["claimed", "task_started"]
    assert (last.status, last.calls, last.tokens, last.cost, last.seconds) == ("completed", 3, 46, 0.75, 6)
    asked = [dict(parse_qsl(urlsplit(path).query))["after"] for _, path, _ in api.asked]
    assert asked == ["0", "1", "1", "1", "3"]


def test_a_cost_that_is_not_known_makes_the_sum_unknown(api: ScriptedApi, deployment: Client) -> None:
    api.script = [page("failed", 1, MODEL | {"cost_usd": None}, MODEL | {"cost_usd": 1.0}, {"event": "failed"})]
    assert [progress.cost for progress in follow(deployment, "an-id")] == [None]


@pytest.mark.parametrize("status", ["waiting", "completed", "failed", "cancelled"])
def test_nothing_more_is_asked_of_a_job_that_has_ended_or_waits(
    api: ScriptedApi, deployment: Client, status: str
) -> None:
    api.script = [page(status, 1, {"event": status})]
    assert len(list(follow(deployment, "an-id"))) == 1


def test_an_unfinished_page_of_events_is_read_on(api: ScriptedApi, deployment: Client) -> None:
    api.script = [page("completed", 1, *[{"event": "call", "kind": "tool"}] * 1000), page("completed", 1001)]
    (first, last) = follow(deployment, "an-id")
    assert (first.calls, last.calls, last.news) == (1000, 1000, ())


def test_the_pause_that_the_api_asks_for_is_kept(api: ScriptedApi, deployment: Client, pauses: list[float]) -> None:
    api.script, api.headers = [(503, PROBLEM), (200, {"job_id": "an-id"})], {"Retry-After": "7"}
    deployment.submit({})
    assert pauses == [7]


def test_a_job_id_is_one_part_of_the_path(api: ScriptedApi, deployment: Client) -> None:
    api.script = [(404, PROBLEM)]
    with pytest.raises(Refused):
        deployment.status("../jobs?x=1#")
    assert api.asked[0][1] == "/prod/crewai/status/..%2Fjobs%3Fx%3D1%23"


def test_a_large_answer_is_fetched_from_where_it_lies(api: ScriptedApi, deployment: Client) -> None:
    api.script = [(200, {"text": "a long answer"})]
    assert deployment.result({"result": None, "result_url": f"{api.url}/elsewhere"}) == "a long answer"
    assert deployment.result({"result": "", "result_url": None}) == ""


@pytest.mark.parametrize("answer", [(200, b"<html>"), (404, b"not found"), (200, ["a list"])])
def test_an_address_of_something_else_is_named(api: ScriptedApi, deployment: Client, answer: tuple[int, Any]) -> None:
    api.script = [answer]
    with pytest.raises(Refused, match=f"{api.url} answered {answer[0]}, but not as crewrelay does"):
        deployment.status("an-id")


def test_jobs_are_listed_page_by_page_to_the_number_asked_for(api: ScriptedApi, deployment: Client) -> None:
    def some(first: int, number: int, after: str | None) -> tuple[int, Any]:
        return 200, {"jobs": [{"job_id": str(first + n)} for n in range(number)], "next_cursor": after}

    api.script = [some(0, 100, "a"), some(100, 40, "b"), some(140, 10, "c")]
    assert [job["job_id"] for job in deployment.jobs(150, status="failed", crew="")] == [str(n) for n in range(150)]
    assert [path.partition("?")[2] for _, path, _ in api.asked] == [
        "limit=100&status=failed",
        "limit=50&status=failed&cursor=a",
        "limit=10&status=failed&cursor=b",
    ]
    api.script = [some(0, 3, None)]
    assert len(list(deployment.jobs(150))) == 3


def test_events_are_read_page_by_page(api: ScriptedApi, deployment: Client) -> None:
    pages: list[list[int]] = [[1, 2], [3], []]
    api.script = [(200, {"events": [{"number": number} for number in page]}) for page in pages]
    assert [event["number"] for event in deployment.all_events("an-id")] == [1, 2, 3]
