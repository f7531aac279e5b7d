"""A2A's push notification configurations: kept with a job, told through the notifier; on DynamoDB."""

import json
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.aws.signing import DynamoSigningSecrets
from crewrelay.aws.subscriptions import DynamoSubscriptions
from crewrelay.http.protocols.a2a.requests import FORM_0_3, FORM_1_0, TOKEN_HEADER
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.records import transitions
from crewrelay.jobs.webhooks.notifier import Notifier
from crewrelay.outbound.forms import FORMS as WEBHOOK_FORMS
from crewrelay.system import new_id
from crewrelay.testing import MemoryDoorbell
from crewrelay.wiring.forms import FORMS
from tests.support.a2a import AT_ONCE, BASE, call, message, sent
from tests.support.doubles.meter import MemoryMeter
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import (
    ANSWER,
    ScriptedCrew,
    anybody,
    api_app,
    assert_untouched,
    execution_of,
    job_that_is,
)
from tests.support.subscribed import FOREVER, POLICY, ScriptedPost, Sent, World, asking

URL = "https://example.org/hook"
CONFIG = {"id": "c-1", "url": URL, "token": "t0ken", "authentication": {"scheme": "Bearer", "credentials": "s3cret"}}
OLD = CONFIG | {"authentication": {"schemes": ["Bearer"], "credentials": "s3cret"}}
SHOWN = {"id": "c-1", "url": URL, "authentication": {"scheme": "Bearer"}}
UNKNOWN, INVALID = -32001, -32602


def client_of(storage: Storage, clock: HandSetClock, caller: Caller | None = None) -> TestClient:
    app = api_app(storage, clock, caller or anybody("local"))
    return TestClient(app, base_url="https://api.example.org", raise_server_exceptions=False)


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return client_of(storage, clock)


def told(storage: Storage, clock: HandSetClock, task_id: str) -> list[Sent]:
    """What the task's job owes, delivered."""
    subscriptions = DynamoSubscriptions(storage.dynamodb, storage.table, clock)
    secrets, post = DynamoSigningSecrets(storage.dynamodb, storage.table), ScriptedPost(clock)
    rest = (MemoryDoorbell(), clock, new_id, bytes, lambda: 0.0, MemoryMeter())
    Notifier(storage.store(clock), subscriptions, secrets, post, FORMS, *rest).notify(task_id, clock() + FOREVER)
    return post.sent


def run(storage: Storage, clock: HandSetClock, task_id: str, text: str = ANSWER.text) -> None:
    crew = ScriptedCrew(lambda _: ANSWER.model_copy(update={"text": text}))
    execution_of(storage, crew, clock).run(task_id, clock() + timedelta(minutes=5), first_call_is_free=True)


def test_the_notifier_knows_the_forms_that_requests_name() -> None:
    assert {FORM_1_0, FORM_0_3} <= set(FORMS) - set(WEBHOOK_FORMS)


def test_a_message_brings_its_configuration_and_the_end_is_told_as_the_client_asked(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    asked = {"message": message(), "configuration": {**AT_ONCE, "taskPushNotificationConfig": CONFIG}}
    task_id = call(client, "SendMessage", asked)["task"]["id"]
    assert call(client, "SendMessage", asked)["task"]["id"] == task_id  # the client tries again
    run(storage, clock, task_id)
    [found] = told(storage, clock, task_id)
    assert found.url == URL
    assert (found.headers["Authorization"], found.headers[TOKEN_HEADER]) == ("Bearer s3cret", "t0ken")
    assert found.headers["Content-Type"] == "application/json"
    task = call(client, "GetTask", {"id": task_id, "historyLength": 0})
    assert (task["status"]["state"], json.loads(found.body)) == ("TASK_STATE_COMPLETED", {"task": task})


def test_a_client_of_0_3_is_told_in_its_own_form(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    asked = {"message": message(), "configuration": {"blocking": False, "pushNotificationConfig": OLD}}
    task_id = call(client, "message/send", asked)["id"]
    run(storage, clock, task_id)
    [found] = told(storage, clock, task_id)
    assert json.loads(found.body) == call(client, "tasks/get", {"id": task_id, "historyLength": 0})
    assert json.loads(found.body)["kind"] == "task"


def test_a_result_that_is_too_long_is_left_to_be_fetched(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    ids = [sent(client, name, contextId=name)["id"] for name in ("m-1", "m-2")]
    call(client, "CreateTaskPushNotificationConfig", CONFIG | {"taskId": ids[0]})
    call(client, "tasks/pushNotificationConfig/set", {"taskId": ids[1], "pushNotificationConfig": OLD})
    bodies = []
    for task_id in ids:
        run(storage, clock, task_id, "long " * 5000)
        bodies += [json.loads(each.body) for each in told(storage, clock, task_id)]
    new, old = bodies
    assert (new["statusUpdate"]["taskId"], new["statusUpdate"]["status"]["state"]) == (ids[0], "TASK_STATE_COMPLETED")
    assert (old["id"], old["status"]["state"], "artifacts" in old) == (ids[1], "completed", False)


def test_of_a_state_that_has_passed_only_that_is_told(clock: HandSetClock) -> None:
    for form in (FORM_1_0, FORM_0_3):
        world = World(clock, post := ScriptedPost(clock))
        running = world.claimed(world.submitted(asking(form=form)))
        waiting = world.saved(running, transitions.wait(running, "q-1", clock(), clock() + FOREVER, POLICY))
        job = world.saved(waiting, transitions.cancel(waiting, clock()))
        world.notify(job)
        passed, now = [json.loads(each.body) for each in post.sent]
        at = {"timestamp": "2026-01-02T03:04:05.000Z"}
        if form == FORM_1_0:
            status = {"state": "TASK_STATE_INPUT_REQUIRED", **at}
            assert passed == {"statusUpdate": {"taskId": job.id, "contextId": job.id, "status": status}}
            assert now["task"]["status"]["state"] == "TASK_STATE_CANCELED"
        else:
            status = {"state": "input-required", **at}
            assert passed == {"kind": "task", "id": job.id, "contextId": job.id, "status": status}
            assert now["status"]["state"] == "canceled"


def test_configurations_are_kept_listed_replaced_and_deleted_by_both_bindings(client: TestClient) -> None:
    task_id = sent(client)["id"]
    path, shown = f"{BASE}/tasks/{task_id}/pushNotificationConfigs", SHOWN | {"taskId": task_id}
    assert client.post(path, json=CONFIG).json() == shown
    assert client.post(path, json=CONFIG).json() == shown  # again
    assert client.get(path).json() == {"configs": [shown], "nextPageToken": ""}
    asked = {"taskId": task_id, "id": "c-1"}
    assert call(client, "GetTaskPushNotificationConfig", asked) == client.get(f"{path}/c-1").json() == shown
    other = {"id": "c-1", "taskId": task_id, "url": "https://other.example.org/"}
    assert call(client, "CreateTaskPushNotificationConfig", other) == other
    assert call(client, "ListTaskPushNotificationConfigs", {"taskId": task_id})["configs"] == [other]
    for _ in range(2):
        assert client.delete(f"{path}/c-1").json() == {}
        assert call(client, "DeleteTaskPushNotificationConfig", asked) == {}
    assert client.get(path).json()["configs"] == []
    assert call(client, "GetTaskPushNotificationConfig", asked)["code"] == UNKNOWN


def test_configurations_in_the_form_of_0_3(client: TestClient) -> None:
    task_id = sent(client)["id"]
    asked = {"id": task_id, "pushNotificationConfigId": task_id}
    nameless = {name: value for name, value in OLD.items() if name != "id"}
    shown = {"id": task_id, "url": URL, "authentication": {"schemes": ["Bearer"]}}
    found = {"taskId": task_id, "pushNotificationConfig": shown}
    said = {"taskId": task_id, "pushNotificationConfig": nameless}
    for _ in range(2):
        assert call(client, "tasks/pushNotificationConfig/set", said) == found
    assert call(client, "tasks/pushNotificationConfig/get", {"id": task_id}) == found
    listed: Any = call(client, "tasks/pushNotificationConfig/list", {"id": task_id})
    assert listed == [found]
    assert call(client, "tasks/pushNotificationConfig/delete", asked) is None
    listed = call(client, "tasks/pushNotificationConfig/list", {"id": task_id})
    assert listed == []


def test_a_deleted_configuration_is_told_nothing_and_a_repeated_message_does_not_bring_it_back(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    asked = {"message": message(), "configuration": {**AT_ONCE, "taskPushNotificationConfig": CONFIG}}
    task_id = call(client, "SendMessage", asked)["task"]["id"]
    call(client, "DeleteTaskPushNotificationConfig", {"taskId": task_id, "id": "c-1"})
    assert call(client, "SendMessage", asked)["task"]["id"] == task_id
    run(storage, clock, task_id)
    client.post(f"/crewai/jobs/{task_id}/deliveries/redeliver").raise_for_status()
    assert told(storage, clock, task_id) == []
    call(client, "CreateTaskPushNotificationConfig", CONFIG | {"taskId": task_id})
    assert told(storage, clock, task_id) == []  # it has ended before


def test_the_answer_to_a_question_may_bring_one(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("waiting", storage, clock)
    answer = message("m-2", taskId=job.id, parts=[{"text": "yes"}])
    asked = {"message": answer, "configuration": {**AT_ONCE, "taskPushNotificationConfig": CONFIG}}
    for _ in range(2):
        assert call(client, "SendMessage", asked)["task"]["id"] == job.id
    assert len(call(client, "ListTaskPushNotificationConfigs", {"taskId": job.id})["configs"]) == 1


WRONG: list[dict[str, Any]] = [
    {"url": "http://127.0.0.1/"},
    {"url": "https://169.254.169.254/latest"},
    {"url": "/relative"},
    {"url": None},
    {"id": "c" * 256},
    {"token": "a\r\nX-Other: b"},
    {"token": "t" * 2049},
    {"authentication": {"scheme": "Bearer"}},
    {"authentication": {"credentials": "c"}},
    {"authentication": {"scheme": "Bear er", "credentials": "c"}},
    {"authentication": {"scheme": "Bearer", "credentials": "c\n"}},
]


def test_what_is_no_configuration_writes_nothing(client: TestClient, storage: Storage) -> None:
    for change in WRONG:
        for name in ("taskPushNotificationConfig", "pushNotificationConfig"):
            params = {"message": message(), "configuration": {**AT_ONCE, name: CONFIG | change}}
            assert call(client, "SendMessage", params)["code"] == INVALID, change
    assert_untouched(storage)
    task_id = sent(client)["id"]
    for change in WRONG:
        error = call(client, "CreateTaskPushNotificationConfig", CONFIG | {"taskId": task_id} | change)
        assert error["code"] == INVALID, change
        assert "s3cret" not in error["message"]
    assert call(client, "ListTaskPushNotificationConfigs", {"taskId": task_id})["configs"] == []


def test_a_task_has_so_many_and_no_more(client: TestClient) -> None:
    task_id = sent(client)["id"]
    configs = [{"taskId": task_id, "id": f"c-{number}", "url": URL} for number in range(21)]
    *found, last = [call(client, "CreateTaskPushNotificationConfig", config) for config in configs]
    assert (found, last["code"]) == (configs[:20], INVALID)
    call(client, "DeleteTaskPushNotificationConfig", configs[3])
    assert call(client, "CreateTaskPushNotificationConfig", configs[20]) == configs[20]


def test_each_method_needs_its_scopes(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    task_id = sent(client)["id"]
    needs = {
        "CreateTaskPushNotificationConfig": {Scope.READ, Scope.WEBHOOKS},
        "GetTaskPushNotificationConfig": {Scope.READ},
        "ListTaskPushNotificationConfigs": {Scope.READ},
        "DeleteTaskPushNotificationConfig": {Scope.READ, Scope.WEBHOOKS},
    }
    for method, scopes in needs.items():
        params = CONFIG | {"taskId": task_id}
        for scope in scopes:
            without = Caller(tenant="local", scopes=frozenset(Scope) - {scope})
            assert call(client_of(storage, clock, without), method, params)["code"] == -32000
        allowed = Caller(tenant="local", scopes=frozenset(scopes))
        assert "code" not in call(client_of(storage, clock, allowed), method, params)


def test_another_tenants_task_has_none_to_see_or_change(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    task_id, zoo = sent(client)["id"], client_of(storage, clock, anybody("zoo"))
    call(client, "CreateTaskPushNotificationConfig", CONFIG | {"taskId": task_id})
    for method in ("Create", "Get", "Delete"):
        error = call(zoo, f"{method}TaskPushNotificationConfig", CONFIG | {"taskId": task_id})
        assert error["code"] == UNKNOWN
    assert call(zoo, "ListTaskPushNotificationConfigs", {"taskId": task_id})["code"] == UNKNOWN
    assert len(call(client, "ListTaskPushNotificationConfigs", {"taskId": task_id})["configs"]) == 1
