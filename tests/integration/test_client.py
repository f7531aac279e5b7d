"""A caller of a deployment whose answers get lost: what it repeats, and what it doesn't."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from crewrelay.cli.api.client import Client, Refused


class Api:
    """Answers each request with the next of its script: a status and a body, or None, which is to hang up."""

    def __init__(self) -> None:
        self.script: list[tuple[int, Any] | None] = []
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, idempotency key
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                api.asked.append((self.command, self.path, self.headers.get("Idempotency-Key")))
                answer = api.script.pop(0)
                if answer is not None:
                    body = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
                    self.send_response(answer[0])
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/prod"


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    thread = threading.Thread(target=api.server.serve_forever, args=[0.01])
    thread.start()
    yield api
    api.server.shutdown()
    thread.join()
    api.server.server_close()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def deployment(api: Api, pauses: list[float]) -> Iterator[Client]:
    with closing(Client(api.url, "a token", pauses.append)) as deployment:
        yield deployment


PROBLEM = {"detail": "The table did not answer.", "remedy": "Send it again."}


def test_a_submission_whose_answer_was_lost_is_repeated_under_its_key(
    api: Api, deployment: Client, pauses: list[float]
) -> None:
    api.script = [None, (503, PROBLEM), (202, {"job_id": "an-id"})]
    assert deployment.submit({"topic": "rain"}) == "an-id"
    (key,) = {key for _, _, key in api.asked}
    assert key
    assert [path for _, path, _ in api.asked] == ["/prod/crewai/run/async"] * 3
    assert pauses == [1, 2]


def test_it_gives_up_with_what_it_was_told(api: Api, deployment: Client) -> None:
    api.script = [(503, PROBLEM)] * 4
    with pytest.raises(Refused, match=r"The table did not answer\. Send it again\."):
        deployment.submit({})
    assert len(api.asked) == 4


@pytest.mark.parametrize("ask", [Client.cancel, Client.retry, Client.status])
def test_what_a_person_asked_for_is_asked_once(api: Api, deployment: Client, ask: Any) -> None:
    api.script = [None]
    with pytest.raises(Refused, match="did not answer"):
        ask(deployment, "an-id")
    assert len(api.asked) == 1


def test_who_follows_a_job_bears_with_an_answer_that_was_lost(api: Api, deployment: Client) -> None:
    statuses = ["pending", "pending", "running", "completed"]
    api.script = [(200, {"status": status}) for status in statuses]
    api.script.insert(2, None)
    assert [job["status"] for job in deployment.follow("an-id")] == ["pending", "running", "completed"]


def test_who_follows_a_job_hears_why_it_is_tried_again(api: Api, deployment: Client) -> None:
    error = {"type": "RateLimitError", "message": "The model's rate limit was reached."}
    jobs = [{"status": "pending", "error": None}, *[{"status": "pending", "error": error}] * 2, {"status": "completed"}]
    api.script = [(200, job) for job in jobs]
    told = [(job["status"], job.get("error")) for job in deployment.follow("an-id")]
    assert told == [("pending", None), ("pending", error), ("completed", None)]


def test_a_large_answer_is_fetched_from_where_it_lies(api: Api, deployment: Client) -> None:
    api.script = [(200, {"text": "a long answer"})]
    assert deployment.result({"result": None, "result_url": f"{api.url}/elsewhere"}) == "a long answer"
    assert deployment.result({"result": "", "result_url": None}) == ""


@pytest.mark.parametrize("answer", [(200, b"<html>"), (404, b"not found"), (200, ["a list"])])
def test_an_address_of_something_else_is_named(api: Api, deployment: Client, answer: tuple[int, Any]) -> None:
    api.script = [answer]
    with pytest.raises(Refused, match=f"{api.url} answered {answer[0]}, but not as crewrelay does"):
        deployment.status("an-id")


def test_jobs_are_listed_page_by_page_to_the_number_asked_for(api: Api, deployment: Client) -> None:
    def page(first: int, number: int, after: str | None) -> tuple[int, Any]:
        return 200, {"jobs": [{"job_id": str(first + n)} for n in range(number)], "next_cursor": after}

    api.script = [page(0, 100, "a"), page(100, 40, "b"), page(140, 10, "c")]
    assert [job["job_id"] for job in deployment.jobs(150, status="failed", crew="")] == [str(n) for n in range(150)]
    assert [path.partition("?")[2] for _, path, _ in api.asked] == [
        "limit=100&status=failed",
        "limit=50&status=failed&cursor=a",
        "limit=10&status=failed&cursor=b",
    ]
    api.script = [page(0, 3, None)]
    assert len(list(deployment.jobs(150))) == 3


def test_who_follows_a_job_hears_of_each_task(api: Api, deployment: Client) -> None:
    tasks = [{"status": "running", "progress": {"current_task": task}} for task in (None, "find", "find", "write")]
    api.script = [(200, job) for job in (*tasks, {"status": "completed"})]
    told = [(job.get("progress") or {}).get("current_task") for job in deployment.follow("an-id")]
    assert told == [None, "find", "write", None]


def test_events_are_read_page_by_page(api: Api, deployment: Client) -> None:
    pages: list[list[int]] = [[1, 2], [3], []]
    api.script = [(200, {"events": [{"number": number} for number in page]}) for page in pages]
    assert [event["number"] for event in deployment.events("an-id")] == [1, 2, 3]
