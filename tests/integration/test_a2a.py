"""A2A: a crew as an agent, by both bindings and in both versions' forms."""

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.aws.polling import Polling
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer, File
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.questions import Question
from crewrelay.system import utcnow
from tests.support.a2a import AT_ONCE, BASE, PARTS, call, message, sent, streamed
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import ANSWER, ScriptedCrew, api_app, execution_of, job_that_is
from tests.support.waiting import wait_until


class Asking(ScriptedCrew):
    """One task, with a question in it."""

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        calls.begin_task("writing", "Writer", 1, 1)
        said = calls.ask(Question(message="Is it good?", output="A draft.", options=("yes", "no")))
        calls.end_task()
        return ANSWER.model_copy(update={"text": f"They said {said.option or said.text}."})


class Followed(Polling):
    """Counts the pauses of those who follow a job, and keeps them short."""

    pauses = 0

    async def after(self, seen: int, seconds: float) -> None:
        self.pauses += 1
        await super().after(seen, min(seconds, 0.1))


@pytest.fixture
def client(storage: Storage) -> TestClient:
    return TestClient(api_app(storage), raise_server_exceptions=False)


def run(storage: Storage, task: dict[str, Any], crew: ScriptedCrew) -> None:
    execution_of(storage, crew).run(task["id"], utcnow() + timedelta(minutes=5), first_call_is_free=True)


def test_a_message_starts_the_crew_and_answers_with_the_task_that_has_ended(
    client: TestClient, storage: Storage
) -> None:
    task, crew = sent(client, contextId="talk-1"), ScriptedCrew()
    assert (task["status"]["state"], task["contextId"]) == ("TASK_STATE_SUBMITTED", "talk-1")
    run(storage, task, crew)
    assert crew.given[0].inputs == {"topic": "neural networks", "language": "en"}
    ended = call(client, "SendMessage", {"message": message(contextId="talk-1")})["task"]  # the client tries again
    assert (ended["id"], ended["status"]["state"]) == (task["id"], "TASK_STATE_COMPLETED")
    answer, sources = ended["artifacts"]
    assert answer["parts"] == [{"text": ANSWER.text, "mediaType": "text/plain"}]
    assert sources["parts"][0]["data"]["sources"][0]["title"] == "Networks"
    assert [each["parts"] for each in ended["history"]] == [PARTS]
    got = client.get(f"{BASE}/tasks/{task['id']}", headers={"A2A-Version": "1.0"})
    assert (got.json(), got.headers["content-type"]) == (ended, "application/a2a+json")
    assert "history" not in client.get(f"{BASE}/tasks/{task['id']}?historyLength=0").json()
    assert len(storage.messages(storage.queue_url)) == 1


def test_json_comes_as_data_too_and_files_by_their_url(client: TestClient, storage: Storage) -> None:
    files = (File(name="out/report.md", size=2, digest="0" * 64, content=b"ok"),)
    answers: tuple[dict[str, Any], ...] = ({"text": '{"n": 1}'}, {"text": "", "files": files})
    for number, answer in enumerate(answers):
        task = sent(client, f"m-{number}")
        run(storage, task, ScriptedCrew(lambda _: ANSWER.model_copy(update=answer | {"sources": ()})))  # noqa: B023
    (data,) = call(client, "GetTask", {"id": sent(client, "m-0")["id"]})["artifacts"]
    assert [part.get("data", part.get("text")) for part in data["parts"]] == [{"n": 1}, '{"n": 1}']
    (file,) = sent(client, "m-1")["artifacts"]
    part = file["parts"][0]
    assert (part["filename"], part["mediaType"]) == ("report.md", "text/markdown")
    assert client.get(part["url"], follow_redirects=False).status_code == 307


@pytest.mark.parametrize(("text", "heard"), [(" YES", "yes"), ("Shorter, please", "Shorter, please")])
def test_a_message_answers_the_question_that_the_task_waits_for(
    client: TestClient, storage: Storage, text: str, heard: str
) -> None:
    task = sent(client)
    run(storage, task, Asking())
    waiting = call(client, "SendMessage", {"message": message()})["task"]["status"]
    assert waiting["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert waiting["message"]["parts"] == [{"text": "Is it good?\n\nA draft.\n\nOptions: yes, no."}]
    question = waiting["message"]["metadata"]
    answer = message("m-2", taskId=task["id"], parts=[{"text": text}], metadata=question)
    for _ in range(2):  # sent again by a client that lost the answer
        again = call(client, "SendMessage", {"message": answer, "configuration": AT_ONCE})["task"]
        assert again["status"]["state"] == "TASK_STATE_WORKING"
    run(storage, task, Asking())
    ended = call(client, "SendMessage", {"message": answer})["task"]
    assert ended["artifacts"][0]["parts"][0]["text"] == f"They said {heard}."
    assert [each["parts"] for each in ended["history"]] == [PARTS, [{"text": heard}]]
    assert call(client, "GetTask", {"id": task["id"], "history_length": 1})["history"] == ended["history"][1:]
    late = call(client, "SendMessage", {"message": answer | {"parts": [{"text": "no"}]}})
    assert late["code"] == -32004
    other = message("m-3", taskId=task["id"], contextId="other", parts=[{"text": "yes"}])
    assert call(client, "SendMessage", {"message": other})["code"] == -32602


def test_streams_tell_the_task_its_progress_and_its_end(storage: Storage) -> None:
    """That of the message ends with the question; that of a subscriber goes on, and tells the same."""
    changes, found = Followed(), dict[str, list[dict[str, Any]]]()
    client = TestClient(api_app(storage, changes=changes), raise_server_exceptions=False)

    def follow(path: str, body: dict[str, Any] | None = None) -> threading.Thread:
        thread = threading.Thread(
            target=lambda: found.update({path: streamed(client.post(BASE + path, json=body).text)})
        )
        thread.start()
        return thread

    task = sent(client)
    subscription = f"/tasks/{task['id']}:subscribe"
    following = []
    for path, body in (("/message:stream", {"message": message()}), (subscription, None)):
        before = changes.pauses
        following.append(follow(path, body))
        wait_until(lambda: changes.pauses > before, within=10)  # noqa: B023
    wait_until(lambda: changes.pauses > before + 3, within=10)
    run(storage, task, Asking())
    following[0].join(10)
    before = changes.pauses
    wait_until(lambda: changes.pauses > before + 2, within=10)  # the subscriber has seen the question, too
    answer = message("m-2", taskId=task["id"], parts=[{"text": "yes"}])
    call(client, "SendMessage", {"message": answer, "configuration": AT_ONCE})
    run(storage, task, Asking())
    following[1].join(10)
    first, whole = found["/message:stream"], found[subscription]
    said = [each["statusUpdate"]["status"] for each in whole if "statusUpdate" in each]
    assert [each["state"].removeprefix("TASK_STATE_") for each in said] == [
        *("WORKING", "WORKING", "INPUT_REQUIRED"),
        *("WORKING", "WORKING", "COMPLETED"),
    ]
    assert said[1]["message"]["parts"] == [{"text": "Task 1 of 1: writing (Writer)"}]
    assert whole[: len(first)] == first
    assert list(whole[-2]) == ["artifactUpdate"]
    refused = client.get(BASE + subscription)
    assert (refused.status_code, refused.json()["error"]["details"][0]["reason"]) == (400, "UNSUPPORTED_OPERATION")


def test_the_form_of_0_3(client: TestClient, storage: Storage) -> None:
    parts = [{"kind": "text", "text": "neural networks"}, {"kind": "data", "data": {"language": "en"}}]
    sending = {"message": {"kind": "message", "messageId": "m-1", "role": "user", "parts": parts}}
    begun = call(client, "message/send", sending | {"configuration": {"blocking": False, "acceptedOutputModes": None}})
    assert (begun["kind"], begun["status"]["state"]) == ("task", "submitted")
    assert begun["history"][0]["parts"] == parts
    run(storage, begun, Asking())
    asked = call(client, "tasks/get", {"id": begun["id"]}, **{"A2A-Version": "0.3"})["status"]
    assert (asked["state"], asked["message"]["role"], asked["message"]["kind"]) == (
        "input-required",
        "agent",
        "message",
    )
    rpc = {"jsonrpc": "2.0", "id": 1, "method": "message/stream", "params": sending}
    told = streamed(client.post(BASE, json=rpc).text)
    assert [each["result"]["kind"] for each in told] == ["task", "status-update"]
    assert told[-1]["result"]["final"]
    cancelled = call(client, "tasks/cancel", {"id": begun["id"]})
    assert (cancelled["kind"], cancelled["status"]["state"]) == ("task", "canceled")


def test_cancelling_ends_what_has_not_ended(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    clock.now = utcnow()
    for status in ("pending", "running", "waiting", "completed", "failed", "cancelled"):
        answer = client.post(f"{BASE}/tasks/{job_that_is(status, storage, clock).id}:cancel")
        if status in ("completed", "failed"):
            assert (answer.status_code, answer.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
        else:
            assert answer.json()["status"]["state"] == "TASK_STATE_CANCELED"


def test_tasks_are_listed_by_context_state_and_page(client: TestClient, storage: Storage) -> None:
    for number in range(5):
        task = sent(client, f"m-{number}", contextId=f"talk-{number % 2}")
    run(storage, task, ScriptedCrew())
    everything = client.get(f"{BASE}/tasks").json()
    assert (len(everything["tasks"]), everything["totalSize"], everything["nextPageToken"]) == (5, 5, "")
    assert everything["tasks"][0]["id"] == task["id"]
    assert not {"artifacts", "history"} & everything["tasks"][0].keys()
    mine = call(client, "ListTasks", {"context_id": "talk-0", "pageSize": 2})
    rest = call(client, "ListTasks", {"contextId": "talk-0", "pageSize": 2, "pageToken": mine["nextPageToken"]})
    assert (len(mine["tasks"]), len(rest["tasks"]), rest["nextPageToken"]) == (2, 1, "")
    assert {each["contextId"] for each in mine["tasks"] + rest["tasks"]} == {"talk-0"}
    for state, count in {"COMPLETED": 1, "SUBMITTED": 4, "WORKING": 0, "REJECTED": 0}.items():
        assert len(client.get(f"{BASE}/tasks?status=TASK_STATE_{state}").json()["tasks"]) == count
    full = client.get(f"{BASE}/tasks?includeArtifacts=true&historyLength=1&status=TASK_STATE_COMPLETED").json()
    assert {"artifacts", "history"} <= full["tasks"][0].keys()
    after = {"statusTimestampAfter": full["tasks"][0]["status"]["timestamp"]}
    assert len(client.get(f"{BASE}/tasks", params=after).json()["tasks"]) <= 1


def test_a_page_of_large_tasks_ends_early(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewrelay.http.protocols.a2a.agent._WINDOW", 1000)
    whole = len([sent(client, f"m-{number}") for number in range(9)])
    found, token = list[str](), ""
    while not found or token:
        asked = {"historyLength": 1, "includeArtifacts": True, "pageToken": token}
        page = call(client, "ListTasks", asked)
        assert len(json.dumps(page["tasks"])) < 2000
        found += [task["id"] for task in page["tasks"]]
        token = page["nextPageToken"]
    assert len(found) == len(set(found)) == whole


def test_the_card_is_the_catalogues_and_may_be_kept(client: TestClient) -> None:
    answer = client.get(f"{BASE}/.well-known/agent-card.json")
    card = answer.json()
    assert (card["name"], card["url"]) == ("research", "http://testserver/a2a/research")
    assert {(each["protocolBinding"], each["protocolVersion"]) for each in card["supportedInterfaces"]} == {
        ("JSONRPC", "1.0"),
        ("HTTP+JSON", "1.0"),
        ("JSONRPC", "0.3"),
    }
    assert "topic (What to research)" in card["skills"][0]["description"]
    assert "security" not in card
    assert answer.headers["cache-control"] == "public, max-age=300"
    again = client.get(f"{BASE}/.well-known/agent-card.json", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
