"""The webhooks of CrewAI's platform, asked for at kickoff and resume and told through the notifier in its forms."""

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.http.protocols.amp.notifications import FORMS as AMP_FORMS
from crewrelay.http.protocols.amp.notifications import STREAMED
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.errors import Unavailable
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.records.questions import Question
from crewrelay.wiring.forms import FORMS
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import (
    REQUEST,
    ScriptedCrew,
    anybody,
    api_app,
    deliveries_of,
    execution_of,
    notifier_of,
)
from tests.support.subscribed import FOREVER, ScriptedPost, Sent

BASE = "/amp/research"
URL, OTHER = "https://example.org/hook", "https://other.example.org/"
META = {"order": 7, "of": ["a", None]}
BEARER = {"strategy": "bearer", "token": "s3cret"}
BASIC = {"strategy": "basic", "username": "me", "password": "s3crét"}
QUESTION = Question(message="Is it good?", task="writing", output="A draft.")
APPROVED = {"human_feedback": "", "is_approve": True}


class WorkingCrew(ScriptedCrew):
    """Makes one call of each kind in its task, and asks a human so many questions."""

    def __init__(self, text: str = "done", *, asks: int = 0, question: Question = QUESTION) -> None:
        super().__init__()
        self._text = text
        self._asks = asks
        self._question = question

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        calls.begin_task("writing", "Writer", 1, 1)
        reply = Reply(body="{}", model="scripted/one", prompt_tokens=3, completion_tokens=2)
        calls.call(Kind.MODEL, {"asked": 1}, lambda: reply)
        for kind in (Kind.TOOL, Kind.RETRIEVAL):
            calls.call(kind, {"asked": 1}, lambda: Reply(body="{}"))
        for _ in range(self._asks):
            calls.ask(self._question)
        calls.end_task()
        return Answer(text=self._text, usage=Usage(model="scripted/one", calls=1, prompt_tokens=3, completion_tokens=2))


class FailingCrew(ScriptedCrew):
    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        raise ValueError("it can't be done")


class Platform:
    """One crew, its caller and whoever is told of it."""

    def __init__(self, storage: Storage, clock: HandSetClock, caller: Caller | None = None) -> None:
        self.storage, self.clock = storage, clock
        app = api_app(storage, clock, caller or anybody("local"))
        self.client = TestClient(app, base_url="https://api.example.org", raise_server_exceptions=False)

    def kickoff(self, **asked: Any) -> str:
        answer = self.client.post(f"{BASE}/kickoff", json={"inputs": REQUEST, **asked})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["kickoff_id"])

    def resume(self, job_id: str, **asked: Any) -> Any:
        return self.client.post(f"{BASE}/resume", json={"execution_id": job_id, **APPROVED, **asked})

    def run(self, job_id: str, crew: ScriptedCrew) -> None:
        execution_of(self.storage, crew, self.clock).run(job_id, self.clock() + timedelta(minutes=5))

    def told(self, job_id: str) -> list[Sent]:
        post = ScriptedPost(self.clock)
        notifier_of(self.storage, self.clock, post).notify(job_id, self.clock() + FOREVER)
        return post.sent

    def bodies(self, job_id: str) -> list[Any]:
        return [json.loads(each.body) for each in self.told(job_id)]

    def webhooks(self, job_id: str) -> list[tuple[str | None, str]]:
        found = deliveries_of(self.storage, self.clock).of("local", job_id)
        return [(one.webhook.name, one.webhook.url) for one in found]


@pytest.fixture
def platform(storage: Storage, clock: HandSetClock) -> Platform:
    return Platform(storage, clock)


def test_the_notifier_knows_every_form() -> None:
    assert AMP_FORMS.keys() <= FORMS.keys()


def test_the_end_is_told_with_the_result_and_meta(platform: Platform) -> None:
    job_id = platform.kickoff(crewWebhookUrl=URL, meta=META)
    platform.run(job_id, WorkingCrew('{"title": "Rain"}'))
    [sent] = platform.told(job_id)
    assert (sent.url, sent.headers["Content-Type"]) == (URL, "application/json")
    assert json.loads(sent.body) == {
        "kickoff_id": job_id,
        "state": "SUCCESS",
        "result": '{"title": "Rain"}',
        "result_json": {"title": "Rain"},
        "token_usage": {"total_tokens": 5, "prompt_tokens": 3, "completion_tokens": 2},
        "error": None,
        "meta": META,
    }


def test_a_failure_and_a_stop_are_told_as_such(platform: Platform) -> None:
    failed, stopped = platform.kickoff(crewWebhookUrl=URL), platform.kickoff(crew_webhook_url=URL)
    platform.run(failed, FailingCrew())
    platform.client.post(f"{BASE}/stop/{stopped}")
    for job_id in (failed, stopped):
        [body] = platform.bodies(job_id)
        shown = platform.client.get(f"{BASE}/status/{job_id}").json()
        assert (body["state"], body["error"]) == ("FAILED", shown["error"])
        assert body["error"]
        assert (body["result"], body["token_usage"], body["meta"]) == (None, None, None)


def test_a_result_that_is_too_large_is_told_by_where_it_is(platform: Platform) -> None:
    job_id = platform.kickoff(crewWebhookUrl=URL)
    platform.run(job_id, WorkingCrew("x" * 1_100_000))
    [body] = platform.bodies(job_id)
    assert body["result"].endswith(f"at https://api.example.org{BASE}/status/{job_id}")


@pytest.mark.parametrize(
    ("authentication", "authorization"),
    [(BEARER, "Bearer s3cret"), (BASIC, f"Basic {b64encode('me:s3crét'.encode()).decode()}"), (None, None)],
)
def test_a_question_is_told_with_the_receivers_credentials(
    platform: Platform, authentication: Any, authorization: str | None
) -> None:
    asked = {"url": URL, "authentication": authentication}
    job_id = platform.kickoff(humanInputWebhook=asked, meta=META)
    platform.run(job_id, WorkingCrew(asks=1))
    [sent] = platform.told(job_id)
    assert sent.headers.get("Authorization") == authorization
    question = platform.client.get(f"{BASE}/status/{job_id}").json()["pending_human_input"]
    assert (question["message"], question["output"]) == ("Is it good?", "A draft.")
    ids = {"kickoff_id": job_id, "execution_id": job_id}
    assert json.loads(sent.body) == ids | question | {"meta": META}
    assert platform.resume(job_id, task_id=json.loads(sent.body)["task_id"]).status_code == 200


def test_a_question_that_was_answered_meanwhile_is_told_without_itself(platform: Platform) -> None:
    job_id = platform.kickoff(humanInputWebhook={"url": URL})
    for _ in range(2):
        platform.run(job_id, WorkingCrew(asks=2))
        asked = platform.client.get(f"{BASE}/status/{job_id}").json()["pending_human_input"]
        assert platform.resume(job_id, task_id=asked["task_id"]).status_code == 200
    platform.run(job_id, WorkingCrew(asks=3))
    first, second, third = platform.bodies(job_id)
    assert [(body["kickoff_id"], body["task_id"], body["message"]) for body in (first, second)] == [
        (job_id, None, None)
    ] * 2
    assert (third["message"], third["task_id"]) == ("Is it good?", f"{asked['task_id'].partition('#')[0]}#2")


def test_each_event_is_told_under_the_platforms_name(platform: Platform) -> None:
    job_id = platform.kickoff(webhooks={"events": [*STREAMED], "url": URL, "realtime": False, "authentication": BEARER})
    platform.run(job_id, WorkingCrew())
    sent = platform.told(job_id)
    events = [event for each in sent for event in json.loads(each.body)["events"]]
    assert [each.headers["Authorization"] for each in sent] == ["Bearer s3cret"] * len(events)
    assert [(each["type"], each["data"]) for each in events] == [
        ("crew_kickoff_started", {"crew_name": "research", "inputs": REQUEST}),
        ("task_started", {"task": 1, "of": 1, "task_name": "writing", "agent_role": "Writer"}),
        (
            "llm_call_completed",
            {
                "model": "scripted/one",
                "usage": {"total_tokens": 5, "prompt_tokens": 3, "completion_tokens": 2},
                "seconds": 0.0,
            },
        ),
        ("tool_usage_finished", {"kind": "tool", "seconds": 0.0}),
        ("tool_usage_finished", {"kind": "retrieval", "seconds": 0.0}),
        ("task_completed", {"task": 1}),
        ("crew_kickoff_completed", {"crew_name": "research", "output": "done"}),
    ]
    assert {each["execution_id"] for each in events} == {job_id}
    assert len({each["id"] for each in events}) == len(events)
    assert events[0]["timestamp"] == "2026-01-02T03:04:05.000Z"


def test_only_the_events_that_were_asked_for_are_told(platform: Platform) -> None:
    for name, count in (("llm_call_completed", 1), ("tool_usage_finished", 2), ("crew_kickoff_failed", 0)):
        job_id = platform.kickoff(webhooks={"events": [name, name], "url": URL})
        platform.run(job_id, WorkingCrew())
        assert [body["events"][0]["type"] for body in platform.bodies(job_id)] == [name] * count
    job_id = platform.kickoff(webhooks={"events": ["crew_kickoff_failed"], "url": URL})
    platform.run(job_id, FailingCrew())
    [body] = platform.bodies(job_id)
    assert body["events"][0]["data"]["error"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"taskWebhookUrl": URL}, "taskWebhookUrl: is not served here: outputs of single tasks are not kept"),
    ({"stepWebhookUrl": URL}, "stepWebhookUrl: is not served here: an agent's steps are not kept"),
    ({"crewWebhookUrl": "http://169.254.169.254/"}, "crewWebhookUrl"),
    ({"crewWebhookUrl": "/crewai/run"}, "crewWebhookUrl"),
    ({"crewWebhookUrl": [URL]}, "crewWebhookUrl"),
    ({"humanInputWebhook": {"url": "http://10.0.0.1/"}}, "humanInputWebhook"),
    ({"humanInputWebhook": {"url": URL, "authentication": {"strategy": "digest"}}}, "humanInputWebhook"),
    ({"humanInputWebhook": {"url": URL, "authentication": BEARER | {"token": "a\r\nX: b"}}}, "humanInputWebhook"),
    ({"humanInputWebhook": {"url": URL, "authentication": BASIC | {"username": "a:b"}}}, "humanInputWebhook"),
    ({"webhooks": {"url": URL, "events": []}}, "webhooks"),
    ({"webhooks": {"url": URL, "events": ["task_started", "llm_call_started"]}}, "'llm_call_started' is not told here"),
    ({"crewWebhookUrl": URL, "meta": "x"}, "meta"),
    ({"crewWebhookUrl": URL, "meta": {"x": "x" * 5000}}, "at most 4096 bytes"),
    ({"crewWebhookUrl": URL, "meta": {"x": float("nan")}}, "meta"),
    ({"crewWebhookUrl": URL, "meta": {"x": "\ud800"}}, "meta"),
]


@pytest.mark.parametrize(("asked", "said"), REFUSED, ids=range(len(REFUSED)))
def test_what_cant_be_told_is_refused_and_never_dropped(platform: Platform, asked: dict[str, Any], said: str) -> None:
    for path, rest in (("kickoff", {"inputs": REQUEST}), ("resume", {"execution_id": "x", **APPROVED})):
        content, kind = json.dumps(rest | asked), {"Content-Type": "application/json"}
        answer = platform.client.post(f"{BASE}/{path}", content=content, headers=kind)
        assert (answer.status_code, said in answer.json()["message"]) == (422, True), answer.text
    assert platform.storage.rows() == []


def test_on_resume_the_same_fields_change_nothing_and_others_are_told_from_now_on(platform: Platform) -> None:
    asked = {"crewWebhookUrl": URL, "humanInputWebhook": {"url": URL, "authentication": BEARER}}
    job_id = platform.kickoff(**asked, meta=META)
    platform.run(job_id, WorkingCrew(asks=1))
    platform.told(job_id)
    before = deliveries_of(platform.storage, platform.clock).of("local", job_id)
    stream = {"url": OTHER, "events": ["crew_kickoff_started", "crew_kickoff_completed"]}
    platform.client.base_url = "https://elsewhere.example.org"  # the same API under another name
    for changed in ({}, {"crewWebhookUrl": OTHER}, {"webhooks": stream}):  # the same answer again, with more
        assert platform.resume(job_id, **(asked | changed)).status_code == 200
        if not changed:
            assert deliveries_of(platform.storage, platform.clock).of("local", job_id) == before
    assert platform.webhooks(job_id) == [("amp-human-input", URL), ("amp-crew", URL), ("amp-stream", OTHER)]
    platform.run(job_id, WorkingCrew(asks=1))
    crew, streamed = platform.bodies(job_id)
    assert (crew["result"], crew["meta"]) == ("done", META)  # though not sent again
    assert [each["type"] for each in streamed["events"]] == ["crew_kickoff_completed"]


def test_a_refused_answer_subscribes_nothing(platform: Platform) -> None:
    job_id = platform.kickoff()
    assert platform.resume(job_id, crewWebhookUrl=URL).status_code == 400  # it does not wait
    platform.run(job_id, WorkingCrew(asks=1))
    refused = platform.resume(job_id, crewWebhookUrl=URL, task_id=f"{'0' * 64}#9")
    assert (refused.status_code, platform.webhooks(job_id)) == (400, [])
    job_id = platform.kickoff()
    choice = QUESTION.model_copy(update={"options": ("tea", "milk"), "must_choose": True})
    platform.run(job_id, WorkingCrew(asks=1, question=choice))
    refused = platform.resume(job_id, crewWebhookUrl=URL, human_feedback="beer")
    assert (refused.status_code, platform.webhooks(job_id)) == (422, [])


def test_who_is_to_be_told_is_known_before_the_execution_goes_on(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = platform.kickoff()
    platform.run(job_id, WorkingCrew(asks=1))

    def unavailable(*_: Any) -> None:
        raise Unavailable("The table does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(Intervention, "answer", unavailable)
        assert platform.resume(job_id, crewWebhookUrl=URL).status_code == 503
    assert platform.webhooks(job_id) == [("amp-crew", URL)]
    assert platform.resume(job_id, crewWebhookUrl=URL).status_code == 200  # the client tries again
    assert platform.webhooks(job_id) == [("amp-crew", URL)]


def test_to_subscribe_anew_needs_its_scope(platform: Platform) -> None:
    runner = Caller(tenant="local", scopes=frozenset({Scope.RUN}))
    limited = Platform(platform.storage, platform.clock, runner)
    job_id = limited.kickoff(crewWebhookUrl=URL)
    limited.run(job_id, WorkingCrew(asks=1))
    refused = limited.resume(job_id, crewWebhookUrl=OTHER)
    assert (refused.status_code, "webhooks" in refused.json()["message"]) == (403, True)
    assert limited.resume(job_id, crewWebhookUrl=URL).status_code == 200
    assert limited.webhooks(job_id) == [("amp-crew", URL)]


def test_a_repeated_kickoff_is_the_same_and_another_webhook_needs_another_key(platform: Platform) -> None:
    platform.client.headers["Idempotency-Key"] = "k"
    assert platform.kickoff(crewWebhookUrl=URL, meta=META) == platform.kickoff(crewWebhookUrl=URL, meta=META)
    other = platform.client.post(f"{BASE}/kickoff", json={"inputs": REQUEST, "crewWebhookUrl": OTHER})
    assert (other.status_code, "new key" in other.json()["message"]) == (422, True)
